"""What a model is that writes while it hears: a token for each frame of sound, as it comes."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.engine.audio.loading import LoadedAudioModel
from services.engine.following.sound_buffer import SoundBuffer
from services.engine.media.recording import Samples


@dataclass(frozen=True)
class Written:
    """A token, and how likely the model found it."""

    token: int
    log_probability: float


class Track(ABC):
    """One utterance on its way through a model. Belongs to the thread that owns the model."""

    def __init__(self, row: int, written: Sequence[int], own: "FollowingModel", sound: SoundBuffer, first: int) -> None:
        """Begins with `first` tokens that stand before the text, which begins with what was `written` before."""
        self.row = row
        self.sound = sound
        self.place = 0
        """Tokens read."""
        self.token = -1
        """The one behind them."""
        self.last = -1
        """Tokens read in all, once that is known."""
        self._first = first
        self._written = list(written)
        self._end_ids = own.end_ids

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether there is sound enough for the next token."""

    @property
    def done(self) -> bool:
        """Whether the last token was written."""
        return 0 <= self.last <= self.place or (self.place > 0 and self.token in self._end_ids)

    @property
    def count(self) -> int:
        """Tokens written."""
        return max(self.place + 1 - self._first, 0)

    @property
    def forced(self) -> int | None:
        """The token to be written next, where it was before."""
        return self._written[self.count] if self.count < len(self._written) else None

    def push(self, samples: Samples) -> None:
        """Takes the next samples, `[n]`."""
        self.sound.push(samples)

    @abstractmethod
    def end(self) -> None:
        """Takes note that no more will come."""


class FollowingModel(ABC):
    """A loaded model, with memory for so many utterances at once."""

    loaded: LoadedAudioModel
    rate: int
    """Samples per second of what it reads."""
    frame: int
    """Samples for each token."""
    rows: int
    """Utterances at once."""
    end_ids: Collection[int]
    """Tokens that end what is written."""

    @abstractmethod
    def track(self, row: int, written: Sequence[int]) -> Track:
        """Returns a new utterance in a row that none has; see Track."""

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
