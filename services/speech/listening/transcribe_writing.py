"""The verb Transcribe for Whisper-like models, one window after the other."""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from sensorium.errors import Violation
from services.engine.audio.reader import AudioReader
from services.engine.batching.answer import Answer, RequestTimes
from services.engine.generation.running.media import Medium
from services.engine.language.languages import tag_of
from services.engine.language.prompting import PromptEncoder
from services.engine.listening.features import long_features, window_features, windowed
from services.engine.listening.hearing import window_medium
from services.engine.listening.loading import ListeningModel
from services.engine.listening.segments import Stretch
from services.engine.media.recording import Samples
from services.engine.threads.preprocessing import Preprocessing
from services.speech.listening.listening_options import ListeningOptions, listening_options
from services.speech.listening.window_transcript import WindowTranscripts
from services.speech.listening.window_writer import WindowWriter
from services.speech.live.reading import Reading, spaced
from services.speech.live.reading import Word as LiveWord
from services.speech.transcription.held_seconds import HeldSeconds
from services.speech.transcription.queue_waiting import waited_for
from services.speech.transcription.transcribe_ask import Segment, TranscribeAsk, Transcribed, Transcript, Word
from services.speech.transcription.transcribe_checks import sound_of, wrong_options
from services.speech.transcription.window_reading import WindowReading, WindowReadings


@dataclass
class Course:
    """The state of a request while its windows are transcribed."""

    features: Tensor
    """Mel features `[bins, frames]`; a short recording is padded with silence to a window."""
    frames: int
    """Frames of the recording, without padding."""
    seconds: float
    options: ListeningOptions
    deadline: float | None
    patient: bool = False
    """Whether it retries on a full queue after its first window."""
    done: int = 0
    """Frames transcribed so far."""
    language: str = ""
    language_confidence: float | None = None
    segments: defaultdict[int, list[Segment]] = field(default_factory=lambda: defaultdict(list))
    """Segments of each candidate."""
    likelihoods: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Log-probabilities of text tokens of each candidate."""
    cut: set[int] = field(default_factory=set[int])
    """Candidates of which a window reached a limit of tokens, and was not read again from where it ended."""
    queue: float | None = None
    compute: float = 0.0
    generated: int = 0

    def __len__(self) -> int:
        """Frames to transcribe, padding of a short recording included."""
        return max(self.frames, self.features.shape[1])

    @property
    def waits(self) -> bool:
        """Whether it retries on a full queue now."""
        return self.patient and self.queue is not None

    def note(self, readings: WindowReadings) -> None:
        """Adds the times and tokens of one window."""
        self.queue = readings.queue if self.queue is None else self.queue
        self.compute += readings.compute
        self.generated += sum(candidate.generated for candidate in readings.candidates)


class WritingTranscriber:
    """Transcribes recordings of any length, window by window: each begins where the last complete segment ended."""

    places_words = False  # times from attention are rough, and many models have none

    def __init__(
        self,
        model: ListeningModel,
        writer: WindowWriter,
        reader: AudioReader,
        encoder: PromptEncoder,
        preprocessing: Preprocessing,
        held: HeldSeconds,
    ) -> None:
        self._model = model
        self._tokens = model.tokens
        self._all_frames = model.window_frames
        self._writer = writer
        self._reader = reader
        self._encoder = encoder
        self._transcripts = WindowTranscripts(model, encoder)
        self._preprocessing = preprocessing
        self._held = held
        self.rate = model.rate
        self.window_seconds = model.window_seconds
        """Length of a window."""

    async def transcribe(self, ask: TranscribeAsk) -> Answer[Transcribed]:
        """Returns the transcripts of a recording. Only beam search ranks them; samples keep the order of their draws.

        Raises:
            InvalidArgument: the recording or an option is wrong.
        """
        began = time.monotonic()
        course = await self._preprocessing.run(self._prepare, ask)
        preprocess = time.monotonic() - began
        with self._held.hold(course.seconds):
            while course.done < course.frames:
                await self._advance(course)
        result = _transcribed(course, self._language(course, ask))
        times = RequestTimes(course.queue or 0.0, preprocess, course.compute, time.monotonic() - began)
        return Answer(result, times, audio_seconds=course.seconds)

    async def wrong(self, ask: TranscribeAsk) -> list[Violation]:
        """See Transcriber."""
        wrong = wrong_options(ask)
        await self._preprocessing.run(self._options, ask, wrong)
        return wrong

    async def recognize(self, samples: Samples, ask: TranscribeAsk) -> Reading:
        """See Transcriber. Words have times if the model has alignment heads."""
        course = await self._preprocessing.run(self._heard, samples, ask)
        while course.done < course.frames:
            await self._advance(course)
        segments = course.segments[0]
        text = _text(segments)
        words = [LiveWord(w.text, " ", w.start, w.end, w.confidence) for segment in segments for w in segment.words]
        return Reading(
            spaced(words or [LiveWord(part) for part in text.split()], text),
            self._language(course, ask),
            _confidence(course.likelihoods[0]),
            output_tokens=course.generated,
            queue=course.queue or 0.0,
            compute=course.compute,
            cut=0 in course.cut,
        )

    def _options(self, ask: TranscribeAsk, wrong: list[Violation]) -> ListeningOptions:
        return listening_options(ask, self._tokens, self._encode, self._model.loaded.context_tokens // 2 - 1, wrong)

    def _language(self, course: Course, ask: TranscribeAsk) -> str:
        return tag_of(course.language) if course.language else ask.language

    def _heard(self, samples: Samples, ask: TranscribeAsk) -> Course:
        options = replace(self._options(ask, []), word_times=bool(self._tokens.alignment_heads))
        features = window_features(self._model.extractor, samples)
        return Course(features, self._frames(samples), len(samples) / self.rate, options, ask.deadline)

    def _prepare(self, ask: TranscribeAsk) -> Course:
        wrong = [*ask.violations, *wrong_options(ask)]
        options = self._options(ask, wrong)
        sound = sound_of(ask, self._reader, wrong, self.window_seconds)
        make = window_features if len(sound.samples) <= self.window_seconds * self.rate else long_features
        features = make(self._model.extractor, sound.samples)
        return Course(features, self._frames(sound.samples), sound.seconds, options, ask.deadline, patient=True)

    def _encode(self, text: str) -> Sequence[int]:
        return self._encoder.encode(text, field="prompt", add_special_tokens=False)

    def _frames(self, samples: Samples) -> int:
        return max(len(samples) // int(self._model.extractor.hop_length), 1)

    async def _advance(self, course: Course) -> None:
        """Transcribes the next window."""
        frames = min(self._all_frames, len(course) - course.done)
        features = windowed(course.features, course.done, self._all_frames)
        window = window_medium(features, self._model.loaded.source_tokens)
        if not course.language:
            await self._find_language(course, window)
        asked = window, course.options, course.language
        readings = await waited_for(lambda: self._writer.write(*asked, course.deadline), begun=course.waits)
        course.note(readings)
        done = 0
        for i, reading in enumerate(readings.candidates):
            every, done = self._transcripts.stretches(reading, frames)
            # Models hallucinate in the silence that pads the last window.
            found = [each for each in every if self._offset(course) + each.start_seconds < course.seconds]
            words = await self._aligned(course, window, reading, found)
            course.likelihoods[i] += self._transcripts.likelihoods(reading, found)
            course.segments[i] += self._segments(course, readings, reading, found, words)
            if reading.cut and not (0 < done < frames and len(readings.candidates) == 1):
                course.cut.add(i)
        # Several candidates have one window only. A window whose timestamps make no progress is skipped.
        course.done += done if done > 0 and len(readings.candidates) == 1 else frames

    async def _aligned(
        self, course: Course, window: Medium, reading: WindowReading, found: Sequence[Stretch]
    ) -> list[list[Word]]:
        """Returns the timed words of each stretch; none if the request does not ask for them."""
        # The last generated token was never an input of the decoder, so it has no attention.
        given = reading.tokens[: reading.generated - 1]
        if not course.options.word_times or not given or not found:
            return [[] for _ in found]
        asked = window, course.options, course.language, given, course.deadline
        looks, opening = await waited_for(lambda: self._writer.align(*asked), begun=course.waits)
        course.compute += looks.compute
        heard = min(self._all_frames, course.frames - course.done)
        return await self._preprocessing.finish(
            self._transcripts.token_words, looks, reading, opening, heard, course.language, found
        )

    def _segments(
        self, course: Course, readings: WindowReadings, reading: WindowReading, found: Sequence[Stretch],
        words: Sequence[Sequence[Word]],
    ) -> list[Segment]:  # fmt: skip
        no_speech = self._transcripts.no_speech(readings)
        segments = (
            self._transcripts.segment(reading, stretch, self._offset(course), no_speech, own)
            for stretch, own in zip(found, words, strict=True)
        )
        return [_within(each, course.seconds) for each in segments if each is not None]

    def _offset(self, course: Course) -> float:
        """Returns where the next window begins, in seconds."""
        return course.done * self.window_seconds / self._all_frames

    async def _find_language(self, course: Course, window: Medium) -> None:
        known: Any = self._tokens.languages
        if course.options.language or not known:
            course.language = course.options.language
            return
        course.language, course.language_confidence, readings = await self._writer.language(window, course.deadline)
        course.queue, course.compute = readings.queue, course.compute + readings.compute


def _within(segment: Segment, seconds: float) -> Segment:
    """Returns a segment with its times clipped to the recording's end."""
    words = [
        Word(word.text, min(word.start, seconds), min(word.end, seconds), word.confidence) for word in segment.words
    ]
    start, end = min(segment.start, seconds), min(segment.end, seconds)
    return Segment(segment.text, start, max(start, end), segment.confidence, segment.no_speech_probability, words)


def _transcribed(course: Course, language: str) -> Transcribed:
    transcripts = [
        Transcript(
            _text(course.segments[i]),
            _confidence(course.likelihoods[i]),
            [replace(segment, text=segment.text.strip()) for segment in course.segments[i]],
            i in course.cut,
        )
        for i in sorted(course.likelihoods)
    ]
    return Transcribed(transcripts, language, course.language_confidence, course.generated)


def _text(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments).strip()


def _confidence(log_probabilities: Sequence[float]) -> float | None:
    """Returns the geometric mean of token probabilities; None without tokens."""
    return math.exp(math.fsum(log_probabilities) / len(log_probabilities)) if log_probabilities else None
