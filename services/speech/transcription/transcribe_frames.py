"""The verb Transcribe for frame models (CTC, TDT, RNN-T), which predict tokens for each frame of audio."""

from collections.abc import Sequence

from sensorium.errors import Violation
from services.engine.audio.emissions import Emission, EmissionReader
from services.engine.audio.frame_model import FrameModel
from services.engine.audio.loading import LoadedAudioModel
from services.engine.audio.reader import AudioReader
from services.engine.audio.windows import Window, WindowInputs, windows
from services.engine.audio.words import TimedWord, confidence, stretches
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.media.recording import Samples
from services.speech.live.reading import Reading
from services.speech.live.reading import Word as LiveWord
from services.speech.transcription.transcribe_ask import Segment, TranscribeAsk, Transcribed, Transcript, Word
from services.speech.transcription.transcribe_checks import sound_of, wrong_for_frames, wrong_options

_STRIDE = 6
"""Overlap with each neighbour as a fraction of the window: 1/6, as in transformers' pipeline."""


class FrameTranscriber:
    """Transcribes recordings of any length in overlapping windows. Windows of all requests share batches."""

    places_words = True

    def __init__(
        self,
        pipeline: Pipeline,
        loaded: LoadedAudioModel,
        model: FrameModel,
        reader: AudioReader,
        window_seconds: float,
    ) -> None:
        assert loaded.tokenizer is not None
        self._pipeline = pipeline
        self._model = model
        self._reader = reader
        self._per_frame = model.samples_per_frame
        # Nemotron 3.5 has a prompt embedding per language; its default one detects the language.
        self._finds_language = hasattr(loaded.config, "default_prompt_id")
        # MMS has an adapter and a vocabulary per language, of which the files choose one.
        self._language: str = getattr(loaded.tokenizer, "target_lang", None) or ""
        self._texts = EmissionReader(loaded.tokenizer, model.samples_per_frame / reader.rate, model.writes_special)
        self._longest = self._whole_frames(window_seconds)
        self._stride = self._whole_frames(window_seconds / _STRIDE)
        self.rate = reader.rate
        self.window_seconds = self._longest / reader.rate
        """Longest audio that is read in one pass."""

    def _whole_frames(self, seconds: float) -> int:
        return round(seconds * self._reader.rate / self._per_frame) * self._per_frame

    async def transcribe(self, ask: TranscribeAsk) -> Answer[Transcribed]:
        """Returns the one transcript of a recording.

        Raises:
            InvalidArgument: the recording or an option is wrong.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.deadline)

    async def wrong(self, ask: TranscribeAsk) -> list[Violation]:
        """See Transcriber."""
        return self._wrong(ask)

    async def recognize(self, samples: Samples, ask: TranscribeAsk) -> Reading:
        """See Transcriber. Audio that is too short for the model gives a Reading without words."""
        if len(samples) < self._reader.fewest:
            return Reading([], ask.language)
        window = Window(0, len(samples), 0, 0)
        prepared = Prepared([self._item(samples)], lambda outputs: self._model.emissions([window], outputs))
        answer = await self._pipeline.run(lambda: prepared, ask.deadline)
        words = self._texts.words(answer.result, len(samples) / self.rate)
        return Reading(
            [LiveWord(word.text, " ", word.start, word.end, word.confidence) for word in words],
            ask.language,
            confidence(words),
            queue=answer.times.queue,
            compute=answer.times.compute,
        )

    def _wrong(self, ask: TranscribeAsk) -> list[Violation]:
        wrong = wrong_for_frames(ask, finds_language=self._finds_language, own_language=self._language)
        return [*wrong_options(ask), *wrong]

    def _prepare(self, ask: TranscribeAsk) -> Prepared[Transcribed]:
        sound = sound_of(ask, self._reader, [*ask.violations, *self._wrong(ask)])
        found = windows(len(sound.samples), self._longest, self._stride)
        items = [self._item(sound.samples[window.start : window.stop]) for window in found]
        return Prepared(
            items,
            lambda outputs: self._transcribed(self._model.emissions(found, outputs), ask, sound.seconds),
            audio_seconds=sound.seconds,
        )

    def _item(self, samples: Samples) -> Item:
        inputs = WindowInputs(self._reader, samples)
        return Item(inputs, inputs.length, inputs.kind)

    def _transcribed(self, emitted: Sequence[Emission], ask: TranscribeAsk, seconds: float) -> Transcribed:
        words = self._texts.words(emitted, seconds)
        segments = [_segment(stretch, with_words=ask.word_times) for stretch in stretches(words)]
        transcript = Transcript(self._texts.text(emitted), confidence(words), segments)
        return Transcribed([transcript], ask.language)


def _segment(words: Sequence[TimedWord], *, with_words: bool) -> Segment:
    text = " ".join(word.text for word in words)
    timed = [Word(word.text, word.start, word.end, word.confidence) for word in words] if with_words else []
    return Segment(text, words[0].start, words[-1].end, confidence(words), words=timed)
