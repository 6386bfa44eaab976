"""What a model of audio can do, as the servicer sees it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from services.engine.batching.answer import Answer
from services.speech.ask import ClassifyAsk, Labelled
from services.speech.live.reading import Reading
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


class Transcriber(Protocol):
    """The verb Transcribe, and what live transcription asks."""

    @property
    def rate(self) -> int:
        """Samples per second of what `recognize` takes."""
        ...

    @property
    def window_seconds(self) -> float:
        """Length of what it takes at most."""
        ...

    async def transcribe(self, ask: TranscribeAsk) -> Answer[Transcribed]:
        """Returns the readings of a recording."""
        ...

    async def recognize(self, samples: Any, deadline: float | None = None, language: str = "") -> Reading:
        """Returns what is said in samples, a numpy array `[n]` of float32, at `rate`, of at most `window_seconds`."""
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
    classifier: AudioClassifier | None = None
    synthesizer: Synthesizer | None = None
