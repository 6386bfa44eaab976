"""One picture of a gateway: the whole in one line, then its pools, models and endpoints."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.text import Text

from sensorium.cli.terminal import printable
from sensorium.cli.top import tables
from sensorium.cli.top.columns import table
from sensorium.cli.top.figures import number, seconds, share
from sensorium.cli.top.scrape import Change
from sensorium.v1.models_pb2 import ModelInfo

NARROWEST = 24
_LEAST_LINES = 4
"""A blank one, the head of a table, and two rows."""


@dataclass(frozen=True)
class Seen:
    """What is known when a frame is drawn."""

    target: str
    change: Change
    models: Sequence[ModelInfo]
    clock: str
    """The time of day."""
    trouble: str = ""
    """Why it is not of now, or not whole."""


def frame(seen: Seen, width: int, height: int | None = None) -> RenderableType:
    """Returns the picture, at most `width` columns wide and, if given, `height` lines high."""
    head = _head(seen)
    if seen.trouble:
        head.append(f"\n{printable(seen.trouble)}", style="bold red")
    parts: list[RenderableType] = [head]
    now = seen.change.after
    found = (tables.pools(now), tables.models(seen.change, seen.models), tables.endpoints(now))
    left = None if height is None else height - len(head.wrap(Console(width=width), width))
    for columns in filter(None, found):
        count = len(columns[0].cells)
        if left is None:
            rows = count
        elif left >= _LEAST_LINES:
            rows = min(count, left - 2)
            left -= rows + 2
        else:
            break
        parts += [Text(), table(columns, max(width, NARROWEST), rows)]
    return Group(*parts)


def _head(seen: Seen) -> Text:
    change = seen.change
    requests, ok = (sum(tables.requests(change, **where).values()) for where in ({}, {"code": "OK"}))
    facts = [
        f"{number(requests if change.seconds > 0 else None)} requests/s",
        f"{share(1 - ok / requests if requests else None)} not OK",
        f"{number(change.rate(tables.TOKENS, direction='output'))} tokens/s",
        f"{number(change.after.value(tables.RUNNING))} running",
        f"{number(change.after.value(tables.QUEUED))} queued",
        f"event loop {seconds(change.quantile(0.99, 'sensorium_gateway_event_loop_lag_seconds'))} late",
    ]
    return Text.assemble((printable(seen.target), "bold"), f"  {seen.clock}  ", " · ".join(facts))
