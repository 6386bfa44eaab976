"""What the engine asks of a model that speaks."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from services.engine.speech_synthesis.draws import Draws


@dataclass(frozen=True)
class Manner:
    """How something is said."""

    voice: int | None = None
    """Index into the model's voices; None for its only one, or where an embedding says who speaks."""
    embedding: Sequence[float] | None = None
    rate: float = 1.0
    """Speed, relative to the model's own."""
    brief: bool = False
    """Whether the beginning is enough, by which a model is tried in all its parts."""
    like: Any = None
    """What `speak` returned for the sentence before, by which a model without voices keeps the one it began with."""


class SpeakingModel(Protocol):
    """A model that makes speech of sentences."""

    sample_rate: int
    """Samples per second."""
    language: str
    """Its own code of the language it speaks; empty if its files do not say."""
    voices: Sequence[str]
    """Names, the default first; empty where there is one without a name, or none without an embedding."""
    embedding_width: int
    """Numbers that describe a voice; 0 where the model takes none."""
    has_rates: bool
    """Whether it speaks slower and faster."""
    divides: bool
    """Whether a text is spoken sentence by sentence; otherwise it describes one sound."""
    joins: bool
    """Whether short sentences are spoken together, as far as the model reads: it knows who talks from what was said."""
    most_tokens: int
    """Of one sentence, or description."""

    def read(self, sentence: str) -> list[int]:
        """Returns the tokens of a sentence, or description; none if nothing of it can be said. Any thread."""
        ...

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws, /) -> Generator[Tensor | None, None, Any]:
        """Yields the sound of a sentence, `[samples]` in [-1, 1], piece by piece, and returns the next one's `like`.

        Each step is short, and may yield None where there is nothing to hear yet. Called in the model's thread.
        """
        ...


@dataclass(frozen=True)
class LoadedSpeaker:
    """A model that speaks, in memory."""

    speaker: SpeakingModel
    model: Any
    """The library's own, which the speaker runs."""
    device: Any
    revision: str
    quantization: str = ""
    """Method and kind; empty where the weights are as wide as they are computed in."""

    @property
    def labels(self) -> list[str]:
        """None: it tells nothing apart."""
        return []

    @property
    def architecture(self) -> str:
        """The class that runs it."""
        return type(self.model).__name__
