"""Encodes a step as numbers, which the first rank sends to the others."""

from collections.abc import Collection
from enum import IntEnum

from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.sequence import CachedTokens, Row, Sequence

_COUNTS = 6
"""Numbers of a row before its tokens and pages."""


class Order(IntEnum):
    """What the other ranks have to do: the first number of a message."""

    END = 0
    RUN = 1
    """Run rows: for each its counts, its new tokens, and its pages."""
    COPY = 2
    """Copy pages: how many, the source pages, then the target pages."""
    LAUNCH = 3
    """Replay a recorded step: the number of rows that continue one of the previous step, their indices there, rows."""


def packed_rows(rows: Collection[Row[CachedTokens]]) -> list[int]:
    """Encodes rows as numbers."""
    numbers: list[int] = []
    for row in rows:
        first, pages = row.sequence.computed, row.sequence.pages
        counts = first, row.token_count, row.scored, len(row.proposed), row.completes, len(pages)
        numbers += (*counts, *row.token_ids, *pages)
    return numbers


def rows_of(numbers: list[int]) -> list[Row[CachedTokens]]:
    """Decodes rows, so that a runner computes the same. Tokens computed before are zeros: only their number counts."""
    rows: list[Row[CachedTokens]] = []
    place = 0
    while place < len(numbers):
        first, count, scored, proposed, completes, page_count = numbers[place : place + _COUNTS]
        middle = place + _COUNTS + count
        known, further = numbers[place + _COUNTS : middle - proposed], tuple(numbers[middle - proposed : middle])
        tokens = [0] * first + known + [0] * (not completes)
        place = middle + page_count
        rows.append(Row(CachedTokens(tokens, numbers[middle:place], first), count, scored=scored, proposed=further))
    return rows


def packed_launch(rows: Collection[Row[Sequence]], after: LaunchedStep | None) -> list[int]:
    """Encodes the launch of a recorded step."""
    if after is None:
        return [Order.LAUNCH, 0, *packed_rows(rows)]
    numbers = [Order.LAUNCH, len(rows), *(after.places[row.sequence] for row in rows)]
    for row in rows:  # each computes its last known token; the previous step may still have to choose it
        known, pages = len(row.sequence.token_ids), row.sequence.pages
        numbers += (known - 1, 1, 0, 0, True, len(pages), 0, *pages)
    return numbers
