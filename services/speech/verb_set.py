"""The verbs that a loaded audio model may offer, as interfaces for the servicer."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sensorium.errors import Violation
from services.engine.batching.answer import Answer
from services.media.ask import ClassifyAsk, EmbedAsk, Embedded, Labelled
from services.speech.live.event import LiveEvent
from services.speech.live.live_ask import LiveAsk
from services.speech.live.reading import Reading
from services.speech.synthesis.synthesis_ask import AudioDelta, AudioFacts, SynthesisAsk, SynthesisEnd, WholeAudio
from services.speech.transcription.transcribe_ask import TranscribeAsk, Transcribed


class AudioClassifier(Protocol):
    """The verb ClassifyAudio."""

    @property
    def takes_labels(self) -> bool:
        """Whether requests bring the labels; otherwise the model has its own."""
        ...

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each recording."""
        ...


class AudioEmbedder(Protocol):
    """The verb EmbedAudio."""

    async def embed(self, ask: EmbedAsk) -> Answer[Embedded]:
        """Returns one vector for each recording and each text."""
        ...


class Transcriber(Protocol):
    """The verb Transcribe, and the recognition of utterances for StreamTranscribe."""

    @property
    def rate(self) -> int:
        """Sample rate in Hz of the audio that `recognize` takes."""
        ...

    @property
    def window_seconds(self) -> float:
        """Longest audio that `recognize` takes, in seconds."""
        ...

    @property
    def places_words(self) -> bool:
        """Whether `recognize` returns word times that are exact to a few hundredths of a second."""
        ...

    async def transcribe(self, ask: TranscribeAsk) -> Answer[Transcribed]:
        """Returns the transcripts of a recording."""
        ...

    async def wrong(self, ask: TranscribeAsk) -> list[Violation]:
        """Returns what is wrong with the options of a request."""
        ...

    async def recognize(self, samples: Any, ask: TranscribeAsk) -> Reading:
        """Transcribes `samples`, a numpy array `[n]` of float32 at `rate`, of at most `window_seconds`.

        `ask` holds checked options and no audio.
        """
        ...


class StreamTranscriber(Protocol):
    """The verb StreamTranscribe."""

    def listen(self, ask: LiveAsk, pieces: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent]:
        """Yields the events of a stream whose audio bytes arrive in `pieces`."""
        ...


class SpokenText(Protocol):
    """The audio of a text while it is synthesized. Can be read once."""

    @property
    def facts(self) -> AudioFacts:
        """Encoding, sample rate and seed of the audio."""
        ...

    def deltas(self) -> AsyncIterator[AudioDelta]:
        """Yields the audio piece by piece."""
        ...

    def end(self, *, at_once: bool) -> SynthesisEnd:
        """Returns usage and timing, after the last piece.

        With `at_once` the caller got all audio in one answer, so the time to first output is the total time.
        """
        ...


class Synthesizer(Protocol):
    """The verbs Synthesize and StreamSynthesize."""

    async def synthesize(self, ask: SynthesisAsk) -> WholeAudio:
        """Synthesizes a text and returns all of its audio."""
        ...

    def speaking(self, ask: SynthesisAsk) -> AbstractAsyncContextManager[SpokenText]:
        """Synthesizes a text while the audio is read; leaving the context cancels the rest."""
        ...


@dataclass(frozen=True)
class SpeechVerbs:
    """The verbs of a loaded audio model; None for those that it does not offer."""

    transcriber: Transcriber | None = None
    stream_transcriber: StreamTranscriber | None = None
    classifier: AudioClassifier | None = None
    embedder: AudioEmbedder | None = None
    synthesizer: Synthesizer | None = None
