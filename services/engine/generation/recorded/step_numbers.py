"""Where the numbers of a step lie in the buffers of recorded steps."""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.recorded.step_blocks import OF_BLOCK
from services.engine.generation.recorded.step_shape import Kind, StepShape
from services.engine.generation.sampling.device_choice import NUMBERS

Numbers = TypeVar("Numbers", Tensor, NDArray[np.int64])

OF_TOKEN = 5
"""Token id, source, position, slot and adapter."""


@dataclass(frozen=True)
class StepNumbers:
    """Those of one shape, as views of the host's buffer."""

    fields: NDArray[np.int64]
    """`[OF_TOKEN, tokens]`."""
    blocks: NDArray[np.int64]
    """`[blocks, OF_BLOCK]`."""
    listed: NDArray[np.int64]
    """Indices of the tokens that have outputs, in a step that reads; else empty."""
    sampling: NDArray[np.float64]
    """`[NUMBERS, outputs]`."""
    begun: NDArray[np.int64]
    """`[2, tokens]`: see LaidRows; empty where rows cannot go on by one token."""
    table: NDArray[np.int64]
    """The pages of all rows, to the end of the buffer."""
    count: int
    """How many there are before the table."""

    @staticmethod
    def of(buffer: NDArray[np.int64], shape: StepShape) -> "StepNumbers":
        """Returns those of this shape in a buffer."""
        fields, blocks, listed, sampling, begun, table = cut(buffer, shape)
        return StepNumbers(
            fields.reshape(OF_TOKEN, shape.size),
            blocks.reshape(-1, OF_BLOCK),
            listed,
            sampling.view(np.float64).reshape(NUMBERS, shape.outputs),
            begun.reshape(2, -1),
            table,
            count_of(shape),
        )


def count_of(shape: StepShape) -> int:
    """Returns how many numbers a step has before its pages."""
    return _ends(shape)[-1]


def cut(numbers: Numbers, shape: StepShape) -> list[Numbers]:
    """Returns the parts of a step's numbers: tokens, blocks, output indices, sampling numbers, begun pages, pages."""
    ends = [0, *_ends(shape), len(numbers)]
    return [numbers[begin:end] for begin, end in pairwise(ends)]


def _ends(shape: StepShape) -> list[int]:
    """Returns the end of each part of a step's numbers. Pages follow the last part."""
    tokens, blocks = OF_TOKEN * shape.size, OF_BLOCK * (shape.decoding + shape.reading)
    listed = shape.outputs if shape.kind is Kind.READING else 0
    begun = 2 * shape.size if shape.kind is Kind.DECODING else 0
    return list(accumulate((tokens, blocks, listed, NUMBERS * shape.outputs, begun)))
