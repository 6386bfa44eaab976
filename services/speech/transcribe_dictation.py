"""The verb Transcribe by a model that writes what a window says, and little or nothing of when it was said."""

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
from services.speech.dictation_course import Course, Span, Told, confidence
from services.speech.dictation_options import DictationOptions, dictation_options
from services.speech.dictation_writer import WindowAnswers, WindowAsker
from services.speech.held_seconds import HeldSeconds
from services.speech.live.reading import Reading, spaced
from services.speech.live.reading import Word as LiveWord
from services.speech.queue_waiting import waited_for
from services.speech.recording_cuts import RecordingCuts
from services.speech.text_words import words_of
from services.speech.transcribe_ask import TranscribeAsk, Transcribed
from services.speech.transcribe_checks import sound_of, wrong_options
from services.speech.window_reading import WindowReading

_TOGETHER = 4
"""Windows of one recording that are read at a time: none depends on another."""
_HINTS_SHARE = 4
"""Prompt and hotwords take each at most one of so many parts of a sequence."""


class DictationTranscriber:
    """Transcribes recordings of any length, in windows: each ends where nobody speaks."""

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
        """What is read at once at most."""

    async def transcribe(self, ask: TranscribeAsk) -> Answer[Transcribed]:
        """Returns the readings of a recording, which greedy decoding and sampling leave in the order of their draws.

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
        """Returns what is said in samples at `rate`, of at most `window_seconds`, as a wish without audio says.

        What is too short for the model holds no words.
        """
        options = await self._preprocessing.finish(self._options, ask, list[Violation]())
        try:
            answers = await self._writer.write(samples, options, ask.deadline)
        except MediumRefused:
            return Reading([], ask.language)
        (told,) = await self._preprocessing.finish(self._told, answers)
        text = told.written.text
        return Reading(
            spaced([LiveWord(word) for word in words_of(text)], text),
            ask.language or tag_of(told.written.language),
            confidence(told.likelihoods),
            answers.prompt_tokens,
            answers.candidates[0].generated,
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
        return sound_of(ask, self._reader, wrong, self.window_seconds), options

    async def _advance(self, course: Course, sound: Sound, options: DictationOptions, deadline: float | None) -> None:
        """Transcribes all windows, a few at a time."""
        begun: deque[tuple[Span, asyncio.Task[tuple[WindowAnswers, list[Told]]]]] = deque()
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
    ) -> tuple[WindowAnswers, list[Told]]:
        """Returns what the model writes of a window. That of a recording that was `begun` waits where none may wait."""
        try:
            answers = await waited_for(lambda: self._writer.write(samples, options, deadline, work), begun=begun)
        except MediumRefused as refused:
            raise InvalidArgument([Violation("audio", str(refused))]) from refused
        return answers, await self._preprocessing.finish(self._told, answers)

    def _told(self, answers: WindowAnswers) -> list[Told]:
        """Returns what each candidate says."""
        return [
            Told(
                self._dictation.manner.read(self._encoder.decode(candidate.tokens, skip_special_tokens=True)),
                self._likelihoods(candidate),
            )
            for candidate in answers.candidates
        ]

    def _likelihoods(self, reading: WindowReading) -> Sequence[float]:
        """Returns the log-probabilities of the tokens of the transcript, and not of what comes before it."""
        tokens = list(reading.tokens)
        first = tokens.index(self._marker) + 1 if self._marker in tokens else 0
        return reading.log_probabilities[first:]
