"""The verb Transcribe by a model that is asked for it in a prompt."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.errors import InvalidArgument, Violation
from services.engine.audio.reader import AudioReader, Sound
from services.engine.batching.answer import Answer, RequestTimes
from services.engine.dictation.dictation import Dictation
from services.engine.dictation.manner import Written
from services.engine.language.languages import tag_of
from services.engine.language.prompting import PromptEncoder
from services.engine.media.recording import Samples
from services.engine.media.refusal import AudioRefused
from services.engine.multimodal.processor import MediumRefused
from services.engine.preprocessing import Preprocessing
from services.speech.dictation_options import DictationOptions, dictation_options
from services.speech.dictation_writer import DictationWriter, WindowAnswers
from services.speech.held_seconds import HeldSeconds
from services.speech.live.reading import Reading, spaced
from services.speech.live.reading import Word as LiveWord
from services.speech.recording_cuts import RecordingCuts
from services.speech.text_words import joined_texts, words_of
from services.speech.transcribe_ask import Segment, TranscribeAsk, Transcribed, Transcript
from services.speech.transcribe_checks import wrong_options
from services.speech.window_reading import WindowReading

_HINTS_SHARE = 4
"""Prompt and hotwords take each at most one of so many parts of a sequence."""


@dataclass
class _Told:
    """One reading of a recording, as far as its windows are written."""

    texts: list[str] = field(default_factory=list[str])
    segments: list[Segment] = field(default_factory=list[Segment])
    likelihoods: list[float] = field(default_factory=list[float])
    """Log-probabilities of the tokens of the transcript."""

    @property
    def text(self) -> str:
        return joined_texts(self.texts)


@dataclass
class _Course:
    """A request on its way through its windows."""

    told: list[_Told]
    """By candidate."""
    language: str = ""
    """Tag of the first one that the model found."""
    queue: float | None = None
    compute: float = 0.0
    read: int = 0
    generated: int = 0

    def note(self, answers: WindowAnswers) -> None:
        """Counts what a window took."""
        self.queue = answers.queue if self.queue is None else self.queue
        self.compute += answers.compute
        self.read += answers.prompt_tokens
        self.generated += sum(candidate.generated for candidate in answers.candidates)


class DictationTranscriber:
    """Transcribes recordings of any length, one window after the other: each ends where nobody speaks."""

    places_words = False

    def __init__(
        self,
        dictation: Dictation,
        writer: DictationWriter,
        reader: AudioReader,
        encoder: PromptEncoder,
        preprocessing: Preprocessing,
        held: HeldSeconds,
        cuts: RecordingCuts,
        context_tokens: int,
    ) -> None:
        self._dictation = dictation
        self._writer = writer
        self._reader = reader
        self._encoder = encoder
        self._preprocessing = preprocessing
        self._held = held
        self._cuts = cuts
        self._most_hints = context_tokens // _HINTS_SHARE
        marker = encoder.encode(dictation.manner.marker, field="", add_special_tokens=False)
        self._marker = marker[0] if len(marker) == 1 else None
        self.rate = dictation.rate
        self.window_seconds = cuts.seconds
        """What is read at once at most."""

    async def transcribe(self, ask: TranscribeAsk) -> Answer[Transcribed]:
        """Returns the readings of a recording, which greedy decoding and sampling leave in the order of their draws.

        Raises:
            InvalidArgument: the recording or an option is wrong.
        """
        began = time.monotonic()
        sound, options = await self._preprocessing.run(self._prepare, ask)
        preprocess = time.monotonic() - began
        course = _Course([_Told() for _ in range(options.count)])
        with self._held.hold(sound.seconds):
            await self._advance(course, sound, options, ask.deadline)
        transcripts = [Transcript(told.text, _confidence(told.likelihoods), told.segments) for told in course.told]
        result = Transcribed(transcripts, ask.language or course.language, output_tokens=course.generated)
        times = RequestTimes(course.queue or 0.0, preprocess, course.compute, time.monotonic() - began)
        return Answer(result, times, input_tokens=course.read, audio_seconds=sound.seconds)

    def wrong(self, ask: TranscribeAsk) -> list[Violation]:
        """Returns what is wrong with the options of a wish."""
        wrong = wrong_options(ask)
        self._options(ask, wrong)
        return wrong

    async def recognize(self, samples: Samples, ask: TranscribeAsk) -> Reading:
        """Returns what is said in samples at `rate`, of at most `window_seconds`, as a wish without audio says.

        What is too short for the model holds no words.
        """
        options = self._options(ask, [])
        try:
            answers = await self._writer.write(samples, options, ask.deadline)
        except MediumRefused:
            return Reading([], ask.language)
        (reading,) = answers.candidates
        written = self._written(reading)
        return Reading(
            spaced([LiveWord(word) for word in words_of(written.text)], written.text),
            ask.language or tag_of(written.language),
            _confidence(self._likelihoods(reading)),
            answers.prompt_tokens,
            reading.generated,
            answers.queue,
            answers.compute,
        )

    def _options(self, ask: TranscribeAsk, wrong: list[Violation]) -> DictationOptions:
        return dictation_options(ask, self._dictation, self._encode, self._most_hints, wrong)

    def _encode(self, text: str) -> Sequence[int]:
        return self._encoder.encode(text, field="prompt", add_special_tokens=False)

    def _prepare(self, ask: TranscribeAsk) -> tuple[Sound, DictationOptions]:
        wrong = [*ask.violations, *wrong_options(ask)]
        options = self._options(ask, wrong)
        try:
            if ask.audio.wrong:
                raise AudioRefused(ask.audio.wrong)
            sound = self._reader.decode(ask.audio.data, ask.audio.media_type, ask.deadline)
            self._reader.check_length(sound.samples)
        except AudioRefused as error:
            raise InvalidArgument([*wrong, Violation("audio", str(error))]) from error
        if options.count > 1 and self._cuts.next(sound.samples, 0) < len(sound.samples):
            wrong.append(
                Violation("transcript_count", f"must be 1 for a recording of more than {self.window_seconds:g} s")
            )
        if wrong:
            raise InvalidArgument(wrong)
        return sound, options

    async def _advance(self, course: _Course, sound: Sound, options: DictationOptions, deadline: float | None) -> None:
        """Transcribes all windows."""
        begin, samples = 0, sound.samples
        while begin < len(samples):
            end = await self._preprocessing.finish(self._cuts.next, samples, begin)
            try:
                answers = await self._writer.write(samples[begin:end], options, deadline)
            except MediumRefused as refused:
                raise InvalidArgument([Violation("audio", str(refused))]) from refused
            course.note(answers)
            for told, reading in zip(course.told, answers.candidates, strict=True):
                written = self._written(reading)
                course.language = course.language or tag_of(written.language)
                told.likelihoods += self._likelihoods(reading)
                told.texts.append(written.text)
                told.segments += self._segments(written, reading, begin / self.rate, end / self.rate)
            begin = end

    def _segments(self, written: Written, reading: WindowReading, begin: float, end: float) -> list[Segment]:
        """Returns a window's text with its times; in stretches where the model tells those of them."""
        if not written.parts:
            confidence = _confidence(self._likelihoods(reading))
            return [Segment(written.text, begin, end, confidence)] if written.text else []
        return [
            Segment(part.text, min(begin + part.start, end), min(begin + max(part.end, part.start), end))
            for part in written.parts
        ]

    def _written(self, reading: WindowReading) -> Written:
        return self._dictation.manner.read(self._encoder.decode(reading.tokens, skip_special_tokens=True))

    def _likelihoods(self, reading: WindowReading) -> Sequence[float]:
        """Returns the log-probabilities of the tokens of the transcript, and not of what comes before it."""
        tokens = list(reading.tokens)
        first = tokens.index(self._marker) + 1 if self._marker in tokens else 0
        return reading.log_probabilities[first:]


def _confidence(log_probabilities: Sequence[float]) -> float | None:
    """Returns the geometric mean of the probabilities of tokens; None where there are none."""
    return math.exp(math.fsum(log_probabilities) / len(log_probabilities)) if log_probabilities else None
