"""What a model of audio can do, as the servicer sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.engine.batching.answer import Answer
from services.speech.ask import ClassifyAsk, Labelled


class AudioClassifier(Protocol):
    """The verb ClassifyAudio."""

    @property
    def takes_labels(self) -> bool:
        """Whether requests bring the labels, or the model has its own."""
        ...

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each recording."""
        ...


@dataclass(frozen=True)
class SpeechVerbs:
    """What a loaded model of audio can do."""

    classifier: AudioClassifier | None = None
