"""What a vision model can do, as the servicer sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.engine.batching.answer import Answer
from services.vision.ask import ClassifyAsk, Labelled


class ImageClassifier(Protocol):
    """The verb ClassifyImage."""

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each image."""
        ...


@dataclass(frozen=True)
class VisionVerbs:
    """What a loaded vision model can do."""

    classifier: ImageClassifier | None = None
