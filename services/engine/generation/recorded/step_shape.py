"""Sizes of recorded steps: number and kinds of rows that a recording takes."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum, auto

from services.engine.generation.running.adapted_rows import adapted
from services.engine.generation.sequence import CachedTokens, Row

MOST_PROPOSING = 64
"""Most tokens of a step with proposals."""
_ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
MOST_DECODING = _ROWS[-1]
"""Most rows of a step in which each row decodes."""
_PROPOSED = (4, 8, 16, 32, MOST_PROPOSING)
_READ = (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Tokens of steps that read prompts. Longer steps take a GPU longer than launching their kernels does."""
_DECODING_PART, _LEAST_DECODING, _MOST_DECODING = 2, 32, 128
"""Part of a reading step's tokens that may be rows of one token. The decode kernel has programs for all of these, and
with too many of them it would not split contexts.
"""
_PROMPTS = 32
"""Most rows of several tokens in a reading step."""


class Kind(Enum):
    """The rows that a recorded step takes. Each kind also takes the rows of those before it, but costs more."""

    DECODING = auto()
    """One token of each row."""
    PROPOSING = auto()
    """A few tokens of each row, with logits behind each."""
    READING = auto()
    """Any number of tokens of each row: prompts, and rows that decode."""


@dataclass(frozen=True)
class Extent:
    """What is recorded besides decode steps."""

    proposing: bool = False
    """Whether steps with proposals are recorded."""
    reading: int = 0
    """Most tokens of a recorded step that reads prompts; 0: none is recorded."""
    adapted: bool = False
    """Whether each shape is also recorded for rows with adapters."""


@dataclass(frozen=True)
class StepShape:
    """The most that one recording takes."""

    kind: Kind
    size: int
    """Tokens."""
    decoding: int
    """Query blocks for the decode kernel; with 0 it is not launched."""
    queries: int
    """Tokens of a row in such a block."""
    outputs: int
    """Tokens with logits: all, or in a step that reads those which are listed."""
    reading: int = 0
    """Query blocks for the prompt kernel, including padding."""
    span: int = 0
    """Tokens of a row in such a block."""
    adapted: bool = False
    """Whether rows may name adapters."""

    @property
    def twin(self) -> "StepShape":
        """The same shape with adapters, or without if it has them."""
        return replace(self, adapted=not self.adapted)

    def fits(self, demand: "Demand") -> bool:
        """Returns whether it takes rows with this demand. A shape with adapters takes only rows of which one names an
        adapter.
        """
        if demand.adapted != self.adapted or demand.kind.value > self.kind.value or demand.tokens > self.size:
            return False
        return self.kind is not Kind.READING or (
            demand.alone <= self.decoding and demand.several <= _PROMPTS and demand.outputs <= self.outputs
        )


@dataclass(frozen=True)
class Demand:
    """What rows need from a recording."""

    kind: Kind
    """The cheapest kind that takes them."""
    tokens: int
    alone: int
    """Rows of one token."""
    several: int
    """Rows of several tokens."""
    outputs: int
    adapted: bool
    """Whether any row names an adapter."""

    @staticmethod
    def of(rows: Collection[Row[CachedTokens]]) -> "Demand":
        """Returns what these rows need."""
        alone = tokens = outputs = 0
        proposing = True
        for row in rows:
            count, completes = row.token_count, row.completes
            alone, tokens, outputs = alone + (count == 1), tokens + count, outputs + row.scored + completes
            proposing = proposing and completes and len(row.proposed) == row.scored == count - 1
        kind = Kind.READING if not proposing else Kind.DECODING if tokens == alone else Kind.PROPOSING
        return Demand(kind, tokens, alone, len(rows) - alone, outputs, adapted(rows))


def shapes_of(extent: Extent, most: int, queries: int, span: int) -> list[list[StepShape]]:
    """Returns the shapes of each kind to be recorded, in the order in which they are searched.

    Args:
        extent: Which kinds.
        most: Most rows of a step.
        queries: Tokens of a row in a block of the decode kernel.
        span: Tokens of a row in a block of the prompt kernel.
    """
    kinds = [decoding_shapes(most)]
    if extent.proposing:
        kinds.append(proposing_shapes(queries))
    if reading := reading_shapes(most, span, extent.reading):
        kinds.append(reading)
    return kinds


def decoding_shapes(most: int) -> list[StepShape]:
    """Returns the shapes of decode steps of up to `most` rows, the smallest first."""
    sizes = sorted({size for size in _ROWS if size < most} | {min(most, MOST_DECODING)})
    return [StepShape(Kind.DECODING, size, size, 1, size) for size in sizes]


def proposing_shapes(queries: int) -> list[StepShape]:
    """Returns the shapes of steps with proposals; a decode block takes up to `queries` tokens of a row."""
    return [StepShape(Kind.PROPOSING, size, size, queries, size) for size in _PROPOSED]


def reading_shapes(most: int, span: int, longest: int) -> list[StepShape]:
    """Returns the shapes of steps of up to `longest` tokens that read prompts, with or without rows that decode.

    A block of the prompt kernel takes up to `span` tokens of a row. Without decoding rows, as for the first prompts,
    the decode kernel is not launched.
    """
    shapes: list[StepShape] = []
    for size in (size for size in _READ if size <= longest):
        several = min(_PROMPTS, size // 2)
        blocks = -(-size // span) + several + 1
        for decoding in (0, min(most, max(size // _DECODING_PART, _LEAST_DECODING), _MOST_DECODING)):
            shapes.append(StepShape(Kind.READING, size, decoding, 1, min(decoding + several, size), blocks, span))
    return shapes
