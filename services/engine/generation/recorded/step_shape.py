"""Sizes of recorded steps: how many tokens one takes, in which form, and whose."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum, auto

from services.engine.generation.running.adapted_rows import adapted
from services.engine.generation.sequence import CachedTokens, Row

MOST_PROPOSING = 64
"""Tokens of a step with proposals."""
_ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
MOST_DECODING = _ROWS[-1]
"""Rows of a step of which each decodes."""
_PROPOSED = (4, 8, 16, 32, MOST_PROPOSING)
_READ = (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Tokens of steps that read. Longer ones take a GPU longer than it takes to launch their kernels."""
_DECODING_PART, _LEAST_DECODING, _MOST_DECODING = 2, 32, 128
"""Of a step that reads, what part may be rows of one token. For all there may be the decode kernel has programs: with
too many of them it splits no context."""
_PROMPTS = 32
"""Rows of several tokens in such a step."""


class Kind(Enum):
    """What rows a recorded step takes: each kind what those before it do, at a higher price."""

    DECODING = auto()
    """One token of each."""
    PROPOSING = auto()
    """A few tokens of each, behind all of which logits are wanted."""
    READING = auto()
    """Any number of tokens of each: prompts, beside rows that decode."""


@dataclass(frozen=True)
class Extent:
    """What is recorded besides steps that decode."""

    proposing: bool = False
    """Whether steps with proposals are."""
    reading: int = 0
    """How many tokens the longest step has that reads prompts; 0 where none is recorded."""
    adapted: bool = False
    """Whether all that is recorded is for rows with adapters too."""


@dataclass(frozen=True)
class StepShape:
    """What one recording takes at most."""

    kind: Kind
    size: int
    """Tokens."""
    decoding: int
    """Blocks of queries for the decode kernel, which is not launched for none."""
    queries: int
    """Tokens of a row in such a block."""
    outputs: int
    """Tokens behind which there are logits: all, or of a step that reads those which are listed."""
    reading: int = 0
    """Blocks for the kernel that reads prompts, what fills up the step included."""
    span: int = 0
    """Tokens of a row in such a block."""
    adapted: bool = False
    """Whether rows may name adapters."""

    @property
    def twin(self) -> "StepShape":
        """The same with adapters, or of one with adapters the same without."""
        return replace(self, adapted=not self.adapted)

    def fits(self, demand: "Demand") -> bool:
        """Returns whether it takes such rows: with adapters, or without any."""
        if demand.adapted != self.adapted or demand.kind.value > self.kind.value or demand.tokens > self.size:
            return False
        return self.kind is not Kind.READING or (
            demand.alone <= self.decoding and demand.several <= _PROMPTS and demand.outputs <= self.outputs
        )


@dataclass(frozen=True)
class Demand:
    """What rows need of a recording."""

    kind: Kind
    """The first that takes them: each takes what those before it do."""
    tokens: int
    alone: int
    """Rows of one token."""
    several: int
    """Rows of more."""
    outputs: int
    adapted: bool
    """Whether any names an adapter."""

    @staticmethod
    def of(rows: Collection[Row[CachedTokens]]) -> "Demand":
        """Returns what these rows need."""
        alone = sum(row.token_count == 1 for row in rows)
        tokens, outputs = sum(row.token_count for row in rows), sum(row.outputs for row in rows)
        proposing = all(row.completes and len(row.proposed) == row.scored == row.token_count - 1 for row in rows)
        kind = Kind.READING if not proposing else Kind.DECODING if tokens == alone else Kind.PROPOSING
        return Demand(kind, tokens, alone, len(rows) - alone, outputs, adapted(rows))


def shapes_of(extent: Extent, most: int, queries: int, span: int) -> list[list[StepShape]]:
    """Returns the shapes of each kind that is recorded, in the order in which they are looked through.

    Args:
        extent: Which kinds.
        most: Rows of a step.
        queries: Tokens of a row that a block of the decode kernel takes.
        span: The same of the kernel that reads prompts.
    """
    kinds = [decoding_shapes(most)]
    if extent.proposing:
        kinds.append(proposing_shapes(queries))
    if reading := reading_shapes(most, span, extent.reading):
        kinds.append(reading)
    return kinds


def decoding_shapes(most: int) -> list[StepShape]:
    """Returns those of steps of up to `most` rows, the smallest first."""
    sizes = sorted({size for size in _ROWS if size < most} | {min(most, MOST_DECODING)})
    return [StepShape(Kind.DECODING, size, size, 1, size) for size in sizes]


def proposing_shapes(queries: int) -> list[StepShape]:
    """Returns those of steps with proposals, of which a block of the decode kernel takes up to `queries` of a row."""
    return [StepShape(Kind.PROPOSING, size, size, queries, size) for size in _PROPOSED]


def reading_shapes(most: int, span: int, longest: int) -> list[StepShape]:
    """Returns those of steps of up to `longest` tokens that read prompts, alone or beside up to `most` rows, of which a
    block of the kernel that reads takes up to `span` tokens of a row.

    Beside none, as the first prompts find it, no kernel is launched in vain for rows that decode.
    """
    shapes: list[StepShape] = []
    for size in (size for size in _READ if size <= longest):
        several = min(_PROMPTS, size // 2)
        blocks = -(-size // span) + several + 1
        for decoding in (0, min(most, max(size // _DECODING_PART, _LEAST_DECODING), _MOST_DECODING)):
            shapes.append(StepShape(Kind.READING, size, decoding, 1, min(decoding + several, size), blocks, span))
    return shapes
