"""What recorded decode steps read: numbers of each token and pages, in one place that is filled by one transfer."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.sampling.device_choice import NUMBERS
from services.engine.generation.sequence import CachedTokens, Row

_INTEGERS = 9
"""Of a token: itself or where it is found, its position, its slot, and a block of queries."""
FIELDS = _INTEGERS + NUMBERS
"""With the numbers by which the next one is chosen."""


class DecodeInputs:
    """Pinned memory, and the device's that it is copied to. Belongs to the thread that runs the model."""

    def __init__(
        self,
        tokens: int,
        row_pages: int,
        page_size: int,
        device: torch.device,
        part_tokens: Callable[[Sequence[int]], int],
    ) -> None:
        """Takes up to `tokens` tokens, of rows of up to `row_pages` pages. For `part_tokens` see `plan`."""
        room, cuda = tokens * (FIELDS + row_pages), device.type == "cuda"
        self._row_pages, self._page_size, self._part_tokens = row_pages, page_size, part_tokens
        self._host = torch.zeros(room, dtype=torch.int64, pin_memory=cuda)
        self._device = torch.zeros(room, dtype=torch.int64, device=device)
        self._copied = torch.cuda.Event() if cuda else None
        self._laid: list[list[int]] = []  # pages of each row where they are now
        self._laid_as = 0, 0

    def parts(self, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Returns where a step of `size` tokens finds them, their sources, positions, slots, blocks and pages.

        Where a source is not negative, the token is what the step before has found in that place.
        """
        token, source, position, slot = self._device[: 4 * size].view(4, size)
        table = self._device[4 * size : _INTEGERS * size].view(size, 5)
        return token, source, position, slot, table, self._device[FIELDS * size :]

    def numbers(self, size: int) -> Tensor:
        """Returns where it finds the numbers by which tokens are chosen, float64 `[NUMBERS, size]`."""
        return self._device[_INTEGERS * size : FIELDS * size].view(torch.float64).view(NUMBERS, size)

    def fill(
        self,
        rows: Collection[Row[CachedTokens]],
        size: int,
        queries: int = 1,
        sources: Sequence[int] | None = None,
        numbers: NDArray[np.float64] | None = None,
    ) -> None:
        """Copies the rows to where a step of this size reads them, with `numbers` `[NUMBERS, tokens]` if there are any.

        A block takes up to `queries` tokens of a row. With `sources`, rows of one token are one further than their
        sequences: behind the tokens that the step before finds in those places.
        """
        if self._copied is not None:
            self._copied.synchronize()  # of the last step's, from the same place
        page, behind = self._page_size, int(sources is not None)
        # What fills up a step is read from the first page, as loads have no masks: there has to be one.
        pages = [row.sequence.pages for row in rows] or [[0]]
        stride = self._lay_pages(pages, size)
        lengths = [row.token_count for row in rows]
        count, host = sum(lengths), self._host.numpy()
        owners = np.arange(len(rows))
        places = np.array([row.sequence.computed + behind for row in rows], dtype=np.int64)
        if count > len(rows):
            owners = owners.repeat(lengths)
            places = np.concatenate([np.arange(length) for length in lengths]) + places[owners]
        fields, laid = host[: FIELDS * size], host[FIELDS * size :]
        tokens, origins, positions, slots = fields[: 4 * size].reshape(4, size)
        tokens[:], origins[:], positions[:], slots[:] = 0, -1, 0, -1
        if sources is None:
            tokens[:count] = [token for row in rows for token in row.token_ids]
        else:
            origins[:count] = sources
        shifts = [0 if row.sequence.media is None else row.sequence.media.shift for row in rows]
        positions[:count] = places + np.array(shifts)[owners] if any(shifts) else places
        slots[:count] = laid[owners * stride + places // page] * page + places % page
        table = fields[4 * size : _INTEGERS * size].reshape(size, 5)
        if queries > 1 or count > len(rows):
            blocks = query_blocks(lengths, places, size, queries)
            table[:], table[: len(blocks), :4] = 0, blocks
        else:  # as mostly: a block for each row
            table[:, 0], table[:, 1:4] = np.arange(size), (1, -1, 0)
            table[:count, 2], table[:count, 3] = places, owners
        table[:, 4] = self._part_tokens(table[:, 2].clip(0).tolist())
        table[:, 3] *= stride
        if numbers is not None:
            fields[_INTEGERS * size :].view(np.float64).reshape(NUMBERS, size)[:, :count] = numbers
        end = FIELDS * size + len(pages) * stride
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


def query_blocks(
    lengths: Sequence[int], places: Sequence[int] | NDArray[np.int64], size: int, queries: int
) -> NDArray[np.int64]:
    """Returns the blocks `[n, 4]` of `size` tokens: the first token, how many, its position, and its row.

    Rows have `lengths` tokens, of which a block takes up to `queries`; the tokens stand at `places` of their sequences.
    What is left of `size` is in blocks that end where a sequence begins, and so see nothing.
    """
    own, counts = np.arange(len(places)), np.array(lengths, dtype=np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    left = np.cumsum(counts)[rows] - own  # tokens from this one to the last of its row
    heads = own[(counts[rows] - left) % queries == 0]
    real = heads, np.minimum(left[heads], queries), np.array(places, dtype=np.int64)[heads], rows[heads]
    rest = np.arange(len(places), size, queries)
    fills = np.minimum(size - rest, queries)
    return np.concatenate([np.stack(real, axis=1), np.stack([rest, fills, -fills, 0 * rest], axis=1)])
