"""The inputs of recorded steps: a few numbers of each token, and pages, in one buffer."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.recorded.step_blocks import OF_BLOCK, lay_blocks
from services.engine.generation.recorded.step_numbers import OF_TOKEN, StepNumbers, count_of, cut
from services.engine.generation.recorded.step_shape import Kind, StepShape
from services.engine.generation.recorded.transfer import Transfer, copied
from services.engine.generation.running.adapted_rows import numbers_of
from services.engine.generation.running.runner import wanted_of
from services.engine.generation.sampling.device_choice import DRAWS, NUMBERS
from services.engine.generation.sequence import CachedTokens, Row


@dataclass(frozen=True)
class LaidRows:
    """Views of a step's numbers for rows of one token each, with which the next step of these rows is filled in."""

    pages: list[list[int]]
    """Each row's own list."""
    places: NDArray[np.int64]
    """Index of each row's token in its sequence."""
    positions: NDArray[np.int64]
    sources: NDArray[np.int64]
    slots: NDArray[np.int64]
    contexts: NDArray[np.int64]
    """Number of tokens before each token, as in its block."""
    blocks: NDArray[np.int64]
    """Blocks of all rows and of the padding."""
    draws: NDArray[np.float64]
    table: NDArray[np.int64]
    """Pages `[rows, most pages of a row]`."""
    begun: NDArray[np.int64]
    """`[2, rows]`, for rows that begin a page: its index in the table (negative for other rows), and the page."""
    carry: Callable[[], object]
    """Copies everything but the table to the device, and writes newly begun pages into the table there."""


class StepInputs:
    """The buffer in pinned memory, and the one on the device to which it is copied. Belongs to the model's thread."""

    def __init__(
        self,
        shapes: Collection[StepShape],
        row_pages: int,
        page_size: int,
        device: torch.device,
        part_tokens: Callable[[NDArray[np.int64], int], int],
        adapters: Mapping[str, int],
        transfer: Transfer = copied,
    ) -> None:
        """Allocates room for steps of these shapes, with rows of up to `row_pages` pages.

        `part_tokens` is called with contexts and the number of query blocks, and returns the most tokens that a program
        takes. `adapters` are the numbers of the adapters that rows may name.
        """
        room = max((count_of(shape) + _most_rows(shape) * row_pages for shape in shapes), default=0)
        cuda = device.type == "cuda"
        self._row_pages, self._page_size, self._part_tokens = row_pages, page_size, part_tokens
        self._adapters = adapters
        self._host = torch.zeros(room, dtype=torch.int64, pin_memory=cuda)
        self._numbers = dict[StepShape, StepNumbers]()
        self._device = torch.zeros(room, dtype=torch.int64, device=device)
        self._transfer, self._carries = transfer, dict[tuple[int, int], Callable[[], object]]()
        self._carried = torch.cuda.Event() if cuda else None
        self._laid: list[list[int]] = []  # the pages of each row that are in the table now
        self._laid_as = 0, 0
        self._last: LaidRows | None = None

    def parts(self, shape: StepShape) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Returns the device views of a step: tokens, sources, positions, slots, adapters, blocks, indices of outputs,
        pages.

        If a source is not negative, the token is the one at that index of the step before. Adapters are filled in only
        for shapes with adapters; see Picked.
        """
        fields, blocks, listed, _, _, pages = cut(self._device, shape)
        token, source, position, slot, adapter = fields.view(OF_TOKEN, shape.size)
        return token, source, position, slot, adapter, blocks.view(-1, OF_BLOCK), listed, pages

    def numbers(self, shape: StepShape) -> Tensor:
        """Returns the device view of the sampling numbers, float64 `[NUMBERS, outputs]`."""
        return cut(self._device, shape)[3].view(torch.float64).view(NUMBERS, shape.outputs)

    def fill(
        self,
        rows: Collection[Row[CachedTokens]],
        shape: StepShape,
        sources: Sequence[int] | None = None,
        sampling: NDArray[np.float64] | None = None,
    ) -> LaidRows | None:
        """Fills in rows for a step of this shape, with `sampling` numbers `[NUMBERS, tokens]`, and copies them to the
        device.

        With `sources`, each row is one token behind all known ones of its sequence: the one at that index of the step
        before. Returns the argument for `go_on` if each row is one token of a step that decodes.
        """
        if self._carried is not None:
            self._carried.synchronize()  # the last step's numbers are copied from the same buffer
        # Padding reads the first page, as loads have no masks: so there has to be one.
        pages = [row.sequence.pages for row in rows] or [[0]]
        numbers = self._numbers_of(shape)
        stride = self._lay_pages(pages, numbers)
        places = self._lay_tokens(numbers, rows, sources, stride)
        if shape.adapted:
            self._lay_adapters(numbers.fields[-1], rows)
        blocks, listed = numbers.blocks, numbers.listed
        lay_blocks(blocks, [row.token_count for row in rows], places, shape)
        if shape.decoding:
            self._share_out(blocks[: shape.decoding])
        blocks[:, 3] *= stride
        if len(listed):
            wanted = wanted_of(rows)
            listed[:], listed[: len(wanted)] = max(wanted, default=0), wanted
        if sampling is not None:
            numbers.sampling[:] = 0  # padding is greedy
            numbers.sampling[:, : sampling.shape[1]] = sampling
        numbers.begun[0] = -1
        carry = self._carry_of(numbers)
        self._carry(carry)
        decoding = shape.kind is Kind.DECODING
        self._last = self._laid_rows(pages, places, numbers, stride, carry) if decoding else None
        return self._last

    def go_on(self, laid: LaidRows, draws: NDArray[np.float64] | None = None) -> bool:
        """Moves the rows that were filled in last on by one token, whose ids come from the step before, in order of the
        rows.

        Returns False, with nothing done, if these rows were not filled in last, or if the table has no room for a page.
        """
        size, count = self._page_size, len(laid.places)
        begun = np.flatnonzero((laid.places + 1) % size == 0).tolist()
        if laid is not self._last or any(len(laid.pages[i]) > laid.table.shape[1] for i in begun):
            return False
        if self._carried is not None:
            self._carried.synchronize()
        for numbers in (laid.places, laid.positions, laid.slots, laid.contexts):
            numbers += 1
        laid.sources[:] = np.arange(count)
        laid.begun[0] = -1
        for i in begun:
            place = int(laid.places[i]) // size
            page = laid.pages[i][place]
            laid.table[i, place], laid.slots[i] = page, page * size
            laid.begun[:, i] = i * laid.table.shape[1] + place, page
            self._laid[i] = laid.pages[i].copy()
        self._share_out(laid.blocks)
        if draws is not None:
            laid.draws[:] = draws
        self._carry(laid.carry)
        return True

    def _laid_rows(
        self,
        pages: list[list[int]],
        places: NDArray[np.int64],
        numbers: StepNumbers,
        stride: int,
        carry: Callable[[], object],
    ) -> LaidRows:
        count, blocks = len(places), numbers.blocks
        _, sources, positions, slots, _ = numbers.fields[:, :count]
        draws, table = numbers.sampling[DRAWS, :count], numbers.table[: count * stride].reshape(count, stride)
        begun = numbers.begun[:, :count]
        return LaidRows(pages, places, positions, sources, slots, blocks[:count, 2], blocks, draws, table, begun, carry)

    def _share_out(self, blocks: NDArray[np.int64]) -> None:
        blocks[:, 4] = self._part_tokens(blocks[:, 2].clip(0), len(blocks))

    def _numbers_of(self, shape: StepShape) -> StepNumbers:
        if shape not in self._numbers:
            self._numbers[shape] = StepNumbers.of(self._host.numpy(), shape)
        return self._numbers[shape]

    def _carry_of(self, numbers: StepNumbers) -> Callable[[], object]:
        """Returns what copies such a step's numbers to the device. It is made when such a shape is recorded, once for
        all shapes with as many numbers: with and without adapters these are the same.
        """
        count, changes = numbers.count, numbers.begun.shape[1]
        if (count, changes) not in self._carries:
            self._carries[count, changes] = self._transfer(self._host, self._device, count, changes)
        return self._carries[count, changes]

    def _carry(self, carry: Callable[[], object]) -> None:
        carry()
        if self._carried is not None:
            self._carried.record()

    def _lay_tokens(
        self, numbers: StepNumbers, rows: Collection[Row[CachedTokens]], sources: Sequence[int] | None, stride: int
    ) -> NDArray[np.int64]:
        """Writes the rows' tokens, sources, positions and slots. Returns the index of each token in its sequence."""
        known = [row.sequence.computed if sources is None else len(row.sequence.token_ids) for row in rows]
        owners, places = _owners(known, [row.token_count for row in rows])
        tokens, origins, positions, slots, _ = numbers.fields
        count, size = len(places), self._page_size
        if sources is None:
            tokens[:count] = np.fromiter(chain.from_iterable(row.token_ids for row in rows), np.int64, count)
        origins[:count] = -1 if sources is None else sources
        positions[:count] = places
        if any(row.sequence.media is not None for row in rows):
            shifts = [0 if row.sequence.media is None else row.sequence.media.shift for row in rows]
            positions[:count] += np.array(shifts)[owners]
        page, within = np.divmod(places, size)
        page += owners * stride
        np.add(numbers.table[page] * size, within, out=slots[:count])
        tokens[count if sources is None else 0 :] = 0
        origins[count:], positions[count:], slots[count:] = -1, 0, -1
        return places

    def _lay_adapters(self, numbers: NDArray[np.int64], rows: Collection[Row[CachedTokens]]) -> None:
        """Writes the number of each token's adapter, -1 for none."""
        own = numbers_of(rows, self._adapters)
        numbers[:], numbers[: len(own)] = -1, own

    def _lay_pages(self, pages: list[list[int]], numbers: StepNumbers) -> int:
        """Writes the pages of rows that differ from the step before, on the device too.

        Returns the stride of rows in the table.
        """
        longest = max(map(len, pages), default=1)
        stride = min(1 << (longest - 1).bit_length(), self._row_pages)
        if self._laid_as != (numbers.count, stride):
            self._laid_as, self._laid = (numbers.count, stride), []
        changed: list[int] = []
        for i, own in enumerate(pages):
            if i == len(self._laid):
                self._laid.append([])
            if self._laid[i] != own:
                numbers.table[i * stride : i * stride + len(own)] = own
                self._laid[i] = own.copy()
                changed.append(i)
        if changed:
            begin, end = (numbers.count + i * stride for i in (changed[0], changed[-1] + 1))
            self._device[begin:end].copy_(self._host[begin:end], non_blocking=True)
        return stride


def _owners(known: list[int], lengths: list[int]) -> tuple[NDArray[np.int64] | int, NDArray[np.int64]]:
    """Returns the row of each token, and its index in its sequence. Each row begins behind the known tokens of its own.

    A single row is told as a number.
    """
    if len(lengths) == 1:
        return 0, np.arange(known[0], known[0] + lengths[0])
    owners, places = np.arange(len(lengths)), np.array(known, dtype=np.int64)
    if sum(lengths) == len(lengths):
        return owners, places
    parts = [np.arange(first, first + length) for first, length in zip(known, lengths, strict=True)]
    return owners.repeat(lengths), np.concatenate(parts)


def _most_rows(shape: StepShape) -> int:
    return shape.size if shape.kind is not Kind.READING else shape.outputs
