"""What recorded decode steps read: numbers of each row and its pages, in one place that is filled by one transfer."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.sampling.device_choice import NUMBERS
from services.engine.generation.sequence import CachedTokens

_INTEGERS = 9
"""Of a row beside its pages: its token or where that is found, position, slot, and its block of queries."""
FIELDS = _INTEGERS + NUMBERS
"""With the numbers by which its token is chosen."""


class DecodeInputs:
    """Pinned memory, and the device's that it is copied to. Belongs to the thread that runs the model."""

    def __init__(
        self,
        rows: int,
        row_pages: int,
        page_size: int,
        device: torch.device,
        part_tokens: Callable[[Sequence[int]], int],
    ) -> None:
        """Takes up to `rows` rows of up to `row_pages` pages. For `part_tokens` see `plan`."""
        room, cuda = rows * (FIELDS + row_pages), device.type == "cuda"
        self._row_pages, self._page_size, self._part_tokens = row_pages, page_size, part_tokens
        self._host = torch.zeros(room, dtype=torch.int64, pin_memory=cuda)
        self._device = torch.zeros(room, dtype=torch.int64, device=device)
        self._copied = torch.cuda.Event() if cuda else None
        self._laid: list[list[int]] = []  # pages of each row where they are now
        self._laid_as = 0, 0

    def parts(self, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Returns where a step of `size` rows finds its tokens, their sources, positions, slots, blocks and pages.

        A row whose source is not negative continues the token of that row of the step before.
        """
        token, source, position, slot = self._device[: 4 * size].view(4, size)
        table = self._device[4 * size : _INTEGERS * size].view(size, 5)
        return token, source, position, slot, table, self._device[FIELDS * size :]

    def numbers(self, size: int) -> Tensor:
        """Returns where it finds the numbers by which tokens are chosen, float64 `[NUMBERS, size]`."""
        return self._device[_INTEGERS * size : FIELDS * size].view(torch.float64).view(NUMBERS, size)

    def fill(
        self,
        sequences: Sequence[CachedTokens],
        size: int,
        sources: Sequence[int] | None = None,
        numbers: NDArray[np.float64] | None = None,
    ) -> None:
        """Copies the rows to where a step of this size reads them, with `numbers` `[NUMBERS, rows]` if there are any.

        With `sources`, the rows are one token further than their sequences: behind the tokens that the step before
        finds in those of its rows.
        """
        if self._copied is not None:
            self._copied.synchronize()  # of the last step's, from the same place
        page, count = self._page_size, len(sequences)
        stride = self._lay_pages([sequence.pages for sequence in sequences], size)
        places = [sequence.computed for sequence in sequences]
        fields = self._host.numpy()[: FIELDS * size]
        tokens, origins, positions, slots = fields[: 4 * size].reshape(4, size)
        tokens[:], origins[:], positions[:], slots[:] = 0, -1, 0, -1
        if sources is None:
            tokens[:count] = [sequence.token_ids[place] for sequence, place in zip(sequences, places, strict=True)]
        else:
            places = [place + 1 for place in places]
            origins[:count] = sources
        positions[:count] = [
            place if sequence.media is None else place + sequence.media.shift
            for sequence, place in zip(sequences, places, strict=True)
        ]
        slots[:count] = [
            sequence.pages[place // page] * page + place % page
            for sequence, place in zip(sequences, places, strict=True)
        ]
        table = fields[4 * size : _INTEGERS * size].reshape(size, 5)
        table[:, 0], table[:, 1:4], table[:, 4] = np.arange(size), 0, self._part_tokens(places)
        table[:count, 1], table[:count, 2], table[:count, 3] = 1, places, np.arange(count) * stride
        if numbers is not None:
            fields[_INTEGERS * size :].view(np.float64).reshape(NUMBERS, size)[:, :count] = numbers
        end = FIELDS * size + count * stride
        self._device[:end].copy_(self._host[:end], non_blocking=True)
        if self._copied is not None:
            self._copied.record()

    def _lay_pages(self, pages: list[list[int]], size: int) -> int:
        """Writes each row's pages where it has not those of the step before. Returns how far apart rows begin."""
        longest = max(map(len, pages), default=1)
        stride = min(1 << (longest - 1).bit_length(), self._row_pages)
        if self._laid_as != (size, stride):
            self._laid_as, self._laid = (size, stride), []
        host = self._host.numpy()[FIELDS * size :]
        for i, own in enumerate(pages):
            if i == len(self._laid):
                self._laid.append([])
            if self._laid[i] != own:
                host[i * stride : i * stride + len(own)] = own
                self._laid[i] = own.copy()
        return stride
