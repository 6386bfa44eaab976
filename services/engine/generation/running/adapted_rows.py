"""The adapters of a step's rows."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from services.engine.adapters.beside import Span
from services.engine.generation.sequence import CachedTokens, Row


def adapted(rows: Iterable[Row[CachedTokens]]) -> bool:
    """Returns whether any of the rows names an adapter."""
    return any(row.sequence.adapter for row in rows)


def numbers_of(rows: Iterable[Row[CachedTokens]], places: Mapping[str, int]) -> list[int]:
    """Returns for each token the index of its adapter, or -1 where it has none."""
    return [places.get(row.sequence.adapter, -1) for row in rows for _ in range(row.token_count)]


def spans_of(rows: Iterable[Row[CachedTokens]]) -> list[Span]:
    """Returns which stretches of the rows' tokens are computed with which adapter."""
    spans: list[Span] = []
    end = 0
    for adapter, group in groupby(rows, key=lambda row: row.sequence.adapter):
        start, end = end, end + sum(row.token_count for row in group)
        spans.append(Span(adapter, start, end))
    return spans


def runs_of(spans: Iterable[Span], places: Mapping[str, int]) -> list[int]:
    """Returns index of the adapter, first token and token count of each span, in one flat sequence."""
    runs: list[int] = []
    for span in spans:
        if span.adapter in places:
            runs += places[span.adapter], span.start, span.end - span.start
    return runs


def places_of(rows: Sequence[Row[CachedTokens]], order: Iterable[int]) -> list[int]:
    """Returns the places of the rows' logits, row after row, among logits computed in the order `order`."""
    starts: dict[int, int] = {}
    end = 0
    for place in order:
        starts[place], end = end, end + rows[place].outputs
    return [starts[place] + i for place, row in enumerate(rows) for i in range(row.outputs)]
