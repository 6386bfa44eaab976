"""What a model is that writes while it hears: a token for each frame of sound, as it comes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from services.engine.audio.loading import LoadedAudioModel
from services.engine.media.recording import Samples


@dataclass(frozen=True)
class Written:
    """A token, and how likely the model found it."""

    token: int
    log_probability: float


class Track(Protocol):
    """One utterance on its way through a model. Belongs to the thread that owns the model."""

    @property
    def ready(self) -> bool:
        """Whether there is sound enough for the next token."""
        ...

    @property
    def done(self) -> bool:
        """Whether the last token was written."""
        ...

    @property
    def count(self) -> int:
        """Tokens written."""
        ...

    def push(self, samples: Samples) -> None:
        """Takes the next samples, `[n]`."""
        ...

    def end(self) -> None:
        """Takes note that no more will come."""
        ...


class FollowingModel(ABC):
    """A loaded model, with memory for so many utterances at once."""

    loaded: LoadedAudioModel
    rate: int
    """Samples per second of what it reads."""
    frame: int
    """Samples for each token."""
    rows: int
    """Utterances at once."""

    @abstractmethod
    def track(self, row: int, written: Sequence[int]) -> Track:
        """Returns a new utterance in a row that none has. Its first tokens are those that were `written` before."""

    @abstractmethod
    def step(self, tracks: Sequence[Any]) -> list[Written]:
        """Takes utterances that are ready further, each by the token that is returned.

        Where it raises, none was taken further, and others than the one that it failed on can be tried again.
        """


def likeliest(logits: Tensor, forced: Sequence[int | None]) -> list[Written]:
    """Returns the likeliest token of each row of `[rows, vocabulary]`, or the one that is forced."""
    scores = logits.float().log_softmax(-1)
    best = scores.argmax(-1).tolist()
    tokens = [own if given is None else given for own, given in zip(best, forced, strict=True)]
    told = scores.gather(1, torch.tensor(tokens, device=scores.device)[:, None])[:, 0].tolist()
    return [Written(token, value) for token, value in zip(tokens, told, strict=True)]
