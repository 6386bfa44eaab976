"""What a model of audio can do, as the servicer sees it."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sensorium.errors import Violation
from services.engine.batching.answer import Answer
from services.media.ask import ClassifyAsk, EmbedAsk, Embedded, Labelled
from services.speech.live.event import LiveEvent
from services.speech.live.reading import Reading
from services.speech.live_ask import LiveAsk
from services.speech.synthesis_ask import AudioDelta, AudioFacts, SynthesisAsk, SynthesisEnd, WholeAudio
from services.speech.transcribe_ask import TranscribeAsk, Transcribed


class AudioClassifier(Protocol):
    """The verb ClassifyAudio."""

    @property
    def takes_labels(self) -> bool:
        """Whether requests bring the labels, or the model has its own."""
        ...

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each recording."""
        ...


class AudioEmbedder(Protocol):
    """The verb EmbedAudio."""

    async def embed(self, ask: EmbedAsk) -> Answer[Embedded]:
        """Returns what each recording and each text is embedded as."""
        ...


class Transcriber(Protocol):
    """The verb Transcribe, and what StreamTranscribe asks."""

    @property
    def rate(self) -> int:
        """Samples per second of what `recognize` takes."""
        ...

    @property
    def window_seconds(self) -> float:
        """Length of what it takes at most."""
        ...

    @property
    def places_words(self) -> bool:
        """Whether `recognize` tells to a few hundredths of a second where words are."""
        ...

    async def transcribe(self, ask: TranscribeAsk) -> Answer[Transcribed]:
        """Returns the readings of a recording."""
        ...

    async def wrong(self, ask: TranscribeAsk) -> list[Violation]:
        """Returns what is wrong with the options of a wish."""
        ...

    async def recognize(self, samples: Any, ask: TranscribeAsk) -> Reading:
        """Returns what is said in samples, a numpy array `[n]` of float32, at `rate`, of at most `window_seconds`.

        The wish has options without audio, and nothing is wrong with them.
        """
        ...


class StreamTranscriber(Protocol):
    """The verb StreamTranscribe."""

    def listen(self, ask: LiveAsk, pieces: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent]:
        """Yields what happens in a stream whose audio comes in `pieces`."""
        ...


class SpokenText(Protocol):
    """The audio of a text that is being spoken. To be read once."""

    @property
    def facts(self) -> AudioFacts:
        """What a caller must know to hear it."""
        ...

    def deltas(self) -> AsyncIterator[AudioDelta]:
        """Yields it piece by piece."""
        ...

    def end(self, *, at_once: bool) -> SynthesisEnd:
        """Returns what it took, after the last piece."""
        ...


class Synthesizer(Protocol):
    """The verbs Synthesize and StreamSynthesize."""

    async def synthesize(self, ask: SynthesisAsk) -> WholeAudio:
        """Returns a text as audio."""
        ...

    def speaking(self, ask: SynthesisAsk) -> AbstractAsyncContextManager[SpokenText]:
        """Has a text spoken while its audio is read."""
        ...


@dataclass(frozen=True)
class SpeechVerbs:
    """What a loaded model of audio can do."""

    transcriber: Transcriber | None = None
    stream_transcriber: StreamTranscriber | None = None
    classifier: AudioClassifier | None = None
    embedder: AudioEmbedder | None = None
    synthesizer: Synthesizer | None = None
