"""The verb Transcribe for models that write plain text for a window, with few timestamps or none."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from sensorium.errors import InvalidArgument, Violation
from services.engine.audio.reader import AudioReader, Sound
from services.engine.batching.answer import Answer, RequestTimes
from services.engine.dictation.manner import Dictated
from services.engine.generation.requests.request import Work
from services.engine.language.languages import tag_of
from services.engine.language.prompting import PromptEncoder
from services.engine.media.recording import Samples
from services.engine.multimodal.processor import MediumRefused
from services.engine.threads.preprocessing import Preprocessing
from services.speech.dictation.dictation_course import Candidate, Course, Span, confidence
from services.speech.dictation.dictation_options import DictationOptions, dictation_options
from services.speech.dictation.dictation_writer import WindowAnswers, WindowAsker
from services.speech.live.reading import Reading, spaced
from services.speech.live.reading import Word as LiveWord
from services.speech.transcription.held_seconds import HeldSeconds
from services.speech.transcription.queue_waiting import waited_for
from services.speech.transcription.recording_cuts import RecordingCuts
from services.speech.transcription.text_words import words_of
from services.speech.transcription.transcribe_ask import TranscribeAsk, Transcribed
from services.speech.transcription.transcribe_checks import sound_of, wrong_options
from services.speech.transcription.window_reading import WindowReading

_TOGETHER = 4
"""Windows of one recording that are transcribed concurrently; they are independent."""
_HINTS_SHARE = 4
"""Prompt and hotwords may each take a quarter of the context."""


class DictationTranscriber:
    """Transcribes recordings of any length in windows that are cut at pauses."""

    places_words = False

    def __init__(
        self,
        dictation: Dictated,
        writer: WindowAsker,
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
        """Longest window."""

    async def transcribe(self, ask: TranscribeAsk) -> Answer[Transcribed]:
        """Returns the transcripts of a recording. Only beam search ranks them; samples keep the order of their draws.

        Raises:
            InvalidArgument: the recording or an option is wrong.
        """
        began = time.monotonic()
        sound, options = await self._preprocessing.run(self._prepare, ask)
        preprocess = time.monotonic() - began
        course = Course([[] for _ in range(options.count)])
        with self._held.hold(sound.seconds):
            await self._advance(course, sound, options, ask.deadline)
        result = Transcribed(course.transcripts, ask.language or course.language, output_tokens=course.generated)
        times = RequestTimes(course.queue or 0.0, preprocess, course.work.seconds, time.monotonic() - began)
        return Answer(result, times, input_tokens=course.read, audio_seconds=sound.seconds)

    async def wrong(self, ask: TranscribeAsk) -> list[Violation]:
        """See Transcriber."""
        wrong = wrong_options(ask)
        await self._preprocessing.run(self._options, ask, wrong)
        return wrong

    async def recognize(self, samples: Samples, ask: TranscribeAsk) -> Reading:
        """See Transcriber. Audio that is too short for the model gives a Reading without words."""
        options = await self._preprocessing.finish(self._options, ask, list[Violation]())
        try:
            answers = await self._writer.write(samples, options, ask.deadline)
        except MediumRefused:
            return Reading([], ask.language)
        (candidate,) = await self._preprocessing.finish(self._parsed, answers)
        text = candidate.written.text
        return Reading(
            spaced([LiveWord(word) for word in words_of(text)], text),
            ask.language or tag_of(candidate.written.language),
            confidence(candidate.likelihoods),
            answers.prompt_tokens,
            answers.candidates[0].generated,
            answers.queue,
            answers.compute,
            candidate.cut,
        )

    def _options(self, ask: TranscribeAsk, wrong: list[Violation]) -> DictationOptions:
        return dictation_options(ask, self._dictation, self._encode, self._most_hints, wrong)

    def _encode(self, text: str) -> Sequence[int]:
        return self._encoder.encode(text, field="prompt", add_special_tokens=False)

    def _prepare(self, ask: TranscribeAsk) -> tuple[Sound, DictationOptions]:
        wrong = [*ask.violations, *wrong_options(ask)]
        options = self._options(ask, wrong)
        return sound_of(ask, self._reader, wrong, self.window_seconds), options

    async def _advance(self, course: Course, sound: Sound, options: DictationOptions, deadline: float | None) -> None:
        """Transcribes all windows, up to `_TOGETHER` at a time, and adds them to `course` in order."""
        begun: deque[tuple[Span, asyncio.Task[tuple[WindowAnswers, list[Candidate]]]]] = deque()
        place, samples = 0, sound.samples
        try:
            while begun or place < len(samples):
                if place < len(samples) and len(begun) < _TOGETHER:
                    end = await self._preprocessing.finish(self._cuts.next, samples, place)
                    writing = self._write(samples[place:end], options, deadline, course.work, begun=place > 0)
                    begun.append((Span(place / self.rate, end / self.rate), asyncio.create_task(writing)))
                    place = end
                else:
                    span, task = begun.popleft()
                    course.take(*(await task), span)
        finally:
            for _, task in begun:
                task.cancel()
            await asyncio.gather(*(task for _, task in begun), return_exceptions=True)

    async def _write(
        self, samples: Samples, options: DictationOptions, deadline: float | None, work: Work, *, begun: bool
    ) -> tuple[WindowAnswers, list[Candidate]]:
        """Transcribes a window and parses its candidates. Retries on a full queue if the recording has `begun`."""
        try:
            answers = await waited_for(lambda: self._writer.write(samples, options, deadline, work), begun=begun)
        except MediumRefused as refused:
            raise InvalidArgument([Violation("audio", str(refused))]) from refused
        return answers, await self._preprocessing.finish(self._parsed, answers)

    def _parsed(self, answers: WindowAnswers) -> list[Candidate]:
        """Parses the candidates."""
        return [
            Candidate(
                self._dictation.manner.read(self._encoder.decode(candidate.tokens, skip_special_tokens=True)),
                self._likelihoods(candidate),
                candidate.cut,
            )
            for candidate in answers.candidates
        ]

    def _likelihoods(self, reading: WindowReading) -> Sequence[float]:
        """Returns the log-probabilities of the transcript's tokens, without those before its marker."""
        tokens = list(reading.tokens)
        first = tokens.index(self._marker) + 1 if self._marker in tokens else 0
        return reading.log_probabilities[first:]
