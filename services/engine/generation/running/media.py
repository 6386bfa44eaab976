"""Images and recordings in the prompt of a sequence, and what a model makes of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = Any
"""One of torch's, which is not imported here: requests hold media, and servicers know requests."""

Positions = NDArray[np.int64]
"""Position ids `[rows, tokens]`: one row, or one for each of the dimensions that a model tells apart."""


@dataclass(eq=False)
class Medium:
    """An image or a recording that the model's processor has prepared. One may be in several prompts at once."""

    digest: bytes
    """Of its content: two of one digest are interchangeable."""
    replacement: str
    """What stands in a prompt for it, as the model's processor writes it."""
    token_count: int
    """How many of the replacement's tokens have features in the place of embeddings."""
    inputs: dict[str, Tensor]
    """What the processor made of it and its replacement alone, in batches of one."""
    seconds: float | None = None
    """Length of a recording; None for an image."""
    features: Tensor | None = None
    """`[token_count, width]`, on the device; None until the model has encoded it."""

    def take(self, features: Tensor) -> None:
        """Notes its features, and lets go of pixels and samples: only numbers that tell its shape are needed now."""
        self.features = features
        self.inputs = {name: value for name, value in self.inputs.items() if not value.is_floating_point()}


class PromptMedia:
    """Where in a prompt media stand, and the positions of its tokens if they do not just count."""

    def __init__(
        self,
        media: Sequence[Medium],
        places: Sequence[NDArray[np.int64]],
        positions: Positions | None = None,
        next_position: int | None = None,
    ) -> None:
        """Takes media in their order.

        Args:
            media: at least one.
            places: of each, the indices of the tokens whose embeddings its features replace, ascending.
            positions: of all tokens of the prompt; None where a token's position is its index.
            next_position: of the first token behind the prompt, where positions are given.
        """
        self.media = tuple(media)
        self.places = tuple(places)
        """Of each medium."""
        self._positions = positions
        self.shift = 0 if positions is None or next_position is None else next_position - positions.shape[1]
        """What is added to the index of a token behind the prompt for its position."""

    @property
    def pending(self) -> list[Medium]:
        """Those that the model has not encoded yet, each once."""
        return list(dict.fromkeys(medium for medium in self.media if medium.features is None))

    @property
    def image_count(self) -> int:
        """Images among them."""
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
        """Returns the positions of the tokens in [first, end), those behind the prompt included."""
        known = 0 if self._positions is None else self._positions.shape[1]
        behind = np.arange(max(first, known), end, dtype=np.int64)[None] + self.shift
        if self._positions is None or first >= known:
            return behind
        within = self._positions[:, first : min(end, known)]
        return np.concatenate([within, behind.repeat(len(within), axis=0)], axis=1)
