"""Images and recordings in the prompt of a sequence, and their features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = Any
"""A torch.Tensor. torch is not imported here: servicers import requests, and these hold media."""

Positions = NDArray[np.int64]
"""Position ids `[rows, tokens]`: one row, or one for each of the dimensions that a model tells apart."""


@dataclass(eq=False)
class Medium:
    """An image or a recording, prepared by the model's processor. Several prompts may share one."""

    digest: bytes
    """Digest of its content: media of equal digests are interchangeable."""
    replacement: str
    """The text in its place in a prompt, as the model's processor writes it."""
    token_count: int
    """How many of the replacement's tokens have their embeddings replaced by features."""
    inputs: dict[str, Tensor]
    """The processor's outputs for it and its replacement alone, in batches of one."""
    seconds: float | None = None
    """Length of a recording; None for an image."""
    features: Tensor | None = None
    """`[token_count, width]`, on the device; None until the model has encoded it."""

    def take(self, features: Tensor) -> None:
        """Stores its features and drops pixels and samples: only inputs that tell its shape are still needed."""
        self.features = features
        self.inputs = {name: value for name, value in self.inputs.items() if not value.is_floating_point()}


class PromptMedia:
    """The places of media in a prompt, and the position ids of its tokens if these are not their indices."""

    def __init__(
        self,
        media: Sequence[Medium],
        places: Sequence[NDArray[np.int64]],
        positions: Positions | None = None,
        next_position: int | None = None,
    ) -> None:
        """Makes the media of a prompt.

        Args:
            media: In their order; at least one.
            places: For each, the indices of the tokens whose embeddings its features replace, ascending.
            positions: Of all tokens of the prompt; None where a token's position is its index.
            next_position: Of the first token after the prompt, where positions are given.
        """
        self.media = tuple(media)
        self.places = tuple(places)
        """For each medium, the indices of its tokens."""
        self._positions = positions
        self.shift = 0 if positions is None or next_position is None else next_position - positions.shape[1]
        """Added to the index of a token after the prompt, this gives its position."""

    @property
    def pending(self) -> list[Medium]:
        """Media that the model has not encoded yet, each once."""
        return list(dict.fromkeys(medium for medium in self.media if medium.features is None))

    @property
    def image_count(self) -> int:
        """How many of them are images."""
        return sum(medium.seconds is None for medium in self.media)

    @property
    def audio_seconds(self) -> float | None:
        """Length of the recordings among them; None if there are none."""
        found = [medium.seconds for medium in self.media if medium.seconds is not None]
        return sum(found) if found else None

    def features(self, first: int, end: int) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Yields indices of tokens in [first, end) with the features that replace their embeddings."""
        for medium, places in zip(self.media, self.places, strict=True):
            start, stop = np.searchsorted(places, (first, end))
            if start < stop:
                assert medium.features is not None
                yield places[start:stop], medium.features[start:stop]

    def digests(self, first: int, end: int) -> bytes:
        """Returns the digests of the media that have a token in [first, end)."""
        inside = (
            medium.digest
            for medium, places in zip(self.media, self.places, strict=True)
            if places[0] < end and places[-1] >= first
        )
        return b"".join(inside)

    def positions(self, first: int, end: int) -> Positions:
        """Returns the position ids of the tokens in [first, end), which may be after the prompt."""
        known = 0 if self._positions is None else self._positions.shape[1]
        behind = np.arange(max(first, known), end, dtype=np.int64)[None] + self.shift
        if self._positions is None or first >= known:
            return behind
        within = self._positions[:, first : min(end, known)]
        return np.concatenate([within, behind.repeat(len(within), axis=0)], axis=1)
