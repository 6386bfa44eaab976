"""Query blocks of recorded steps; see QueryBlocks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.engine.generation.recorded.step_shape import Kind, StepShape

OF_BLOCK = 5
"""Numbers of a block in the table."""
Block = tuple[int, int, int, int]
"""The first token, the number of tokens, the position of the first, and the row. A negative position sees nothing."""


def lay_blocks(table: NDArray[np.int64], lengths: Sequence[int], places: NDArray[np.int64], shape: StepShape) -> None:
    """Writes the blocks of rows with `lengths` tokens, which are at `places` of their sequences, and of the padding.

    Blocks contain row numbers instead of page indices. Padding belongs to the first row, at positions before its first
    token, so that it sees nothing.
    """
    if shape.kind is Kind.DECODING and len(places) == len(lengths):  # the usual case: a block for each row
        table[:, 0], table[:, 1:4] = np.arange(shape.size), (1, -1, 0)
        table[: len(places), 2], table[: len(places), 3] = places, np.arange(len(lengths))
        return
    table[:] = 0
    blocks = query_blocks(lengths, places, shape.size, shape.span or shape.queries)
    if not (shape.span and shape.decoding):
        table[: len(blocks), :4] = blocks
        return
    parts: tuple[list[Block], list[Block]] = [], []
    for block in blocks:
        _, _, place, row = block
        parts[place < 0 or lengths[row] > 1].append(block)
    for begin, part in zip((0, shape.decoding), parts, strict=True):
        table[begin : begin + len(part), :4] = np.array(part, dtype=np.int64).reshape(-1, 4)


def query_blocks(
    lengths: Sequence[int], places: Sequence[int] | NDArray[np.int64], size: int, queries: int
) -> list[Block]:
    """Returns the blocks of `size` tokens.

    Rows have `lengths` tokens, up to `queries` of which share a block; the tokens are at `places` of their sequences.
    Padding up to `size` is in blocks that end before position 0, and so sees nothing.
    """
    blocks: list[Block] = []
    end = 0
    for row, length in enumerate(lengths):
        begin, end = end, end + length
        firsts = range(begin, end, queries)
        blocks += [(first, min(queries, end - first), int(places[first]), row) for first in firsts]
    rest = [(first, min(queries, size - first)) for first in range(end, size, queries)]
    return blocks + [(first, count, -count, 0) for first, count in rest]
