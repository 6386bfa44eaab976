"""The interface of streaming recognizers, which write one token for each frame of audio."""

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
    """A token and its log-probability."""

    token: int
    log_probability: float


class Track(ABC):
    """The state of one utterance in a model. Belongs to the thread that owns the model."""

    def __init__(self, row: int, written: Sequence[int], own: "FollowingModel", sound: SoundBuffer, first: int) -> None:
        """`first` is the number of prompt tokens. `written` are tokens to repeat, of an utterance that lost its row."""
        self.row = row
        self.sound = sound
        self.place = 0
        """Number of tokens read."""
        self.token = -1
        """The token to read next."""
        self.last = -1
        """Number of tokens to read in all; -1 until the end of the audio is known."""
        self._first = first
        self._written = list(written)
        self._end_ids = own.end_ids

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether there is enough audio for the next step."""

    @property
    def done(self) -> bool:
        """Whether the last token was written."""
        return 0 <= self.last <= self.place or (self.place > 0 and self.token in self._end_ids)

    @property
    def count(self) -> int:
        """Number of tokens written."""
        return max(self.place + 1 - self._first, 0)

    @property
    def forced(self) -> int | None:
        """The next token, if it repeats one written before; else None."""
        return self._written[self.count] if self.count < len(self._written) else None

    def push(self, samples: Samples) -> None:
        """Takes the next samples, `[n]` float32."""
        self.sound.push(samples)

    @abstractmethod
    def end(self) -> None:
        """Marks the end of the audio."""


class FollowingModel(ABC):
    """A loaded model with a cache of `rows` utterances."""

    loaded: LoadedAudioModel
    rate: int
    """Sample rate in Hz of the model's input."""
    frame: int
    """Samples per token."""
    rows: int
    """Utterances that can be in progress at once."""
    end_ids: Collection[int]
    """Tokens that end the text."""

    @abstractmethod
    def track(self, row: int, written: Sequence[int]) -> Track:
        """Starts an utterance in a free row; see Track."""

    @abstractmethod
    def step(self, tracks: Sequence[Any]) -> list[Written]:
        """Steps utterances that are ready, and returns the token of each.

        If it raises, no utterance has advanced, and all but the failing one can be stepped again.
        """


def likeliest(logits: Tensor, forced: Sequence[int | None]) -> list[Written]:
    """Returns the likeliest token of each row of logits `[rows, vocabulary]`, or the row's forced token."""
    scores = logits.float().log_softmax(-1)
    best = scores.argmax(-1).tolist()
    tokens = [own if given is None else given for own, given in zip(best, forced, strict=True)]
    values = scores.gather(1, torch.tensor(tokens, device=scores.device)[:, None])[:, 0].tolist()
    return [Written(token, value) for token, value in zip(tokens, values, strict=True)]
