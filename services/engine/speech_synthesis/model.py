"""The interface of synthesizers."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from services.engine.speech_synthesis.draws import Draws


@dataclass(frozen=True)
class Manner:
    """How a sentence is spoken."""

    voice: int | None = None
    """Index into the model's voices; None for a model of one voice, or with `embedding`."""
    embedding: Sequence[float] | None = None
    """Speaker embedding."""
    rate: float = 1.0
    """Speed, relative to the model's own."""
    brief: bool = False
    """Whether the shortest output that runs all parts of the model is enough, for a trial."""
    like: Any = None
    """`Spoken.like` of the previous sentence: context that keeps the voice, for some models."""


@dataclass(frozen=True)
class Spoken:
    """How a sentence ended."""

    cut: bool
    """Whether it is as long as the model may speak at once, so that its end may be missing."""
    like: Any = None
    """Context that the next sentence is to continue."""


class SpeakingModel(Protocol):
    """A model that turns sentences into audio."""

    sample_rate: int
    """Sample rate in Hz of its audio."""
    language: str
    """The model's code of its language; empty if its files do not say."""
    voices: Sequence[str]
    """Names of voices, the default first; empty for one unnamed voice, or if an embedding is needed."""
    embedding_width: int
    """Length of a speaker embedding; 0 if the model takes none."""
    has_rates: bool
    """Whether it can speak slower and faster."""
    divides: bool
    """Whether a text is split into sentences; otherwise it describes one sound as a whole."""
    joins: bool
    """Whether short sentences are spoken together, up to `most_tokens`: the model needs the context of a dialogue."""
    most_tokens: int
    """Longest sentence or description, in tokens."""

    def read(self, sentence: str) -> list[int]:
        """Tokenizes a sentence or description; empty if nothing of it can be spoken. Any thread."""
        ...

    def speak(self, tokens: Sequence[int], manner: Manner, draws: Draws, /) -> Generator[Tensor | None, None, Spoken]:
        """Yields the audio of a sentence piece by piece, `[samples]` in [-1, 1]; returns how it ended.

        Each step is short and yields None if no audio is ready. Called in the model's thread.
        """
        ...


@dataclass(frozen=True)
class LoadedSpeaker:
    """A loaded synthesizer."""

    speaker: SpeakingModel
    model: Any
    """The transformers model that `speaker` runs."""
    device: Any
    revision: str
    quantization: str = ""
    """Method and type; empty if the weights are not quantized."""

    @property
    def labels(self) -> list[str]:
        """Empty: it classifies nothing."""
        return []

    @property
    def architecture(self) -> str:
        """Name of the model's class."""
        return type(self.model).__name__
