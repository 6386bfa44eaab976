"""One picture of a gateway: the whole in one line, then its pools, models and endpoints."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from sensorium.cli.terminal import printable
from sensorium.cli.top import tables
from sensorium.cli.top.columns import table
from sensorium.cli.top.figures import number, seconds, share
from sensorium.cli.top.scrape import Change
from sensorium.v1.models_pb2 import ModelInfo

NARROWEST = 24


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


def frame(seen: Seen, width: int) -> RenderableType:
    """Returns the picture, at most `width` columns wide."""
    parts: list[RenderableType] = [_head(seen)]
    if seen.trouble:
        parts.append(Text(printable(seen.trouble), style="bold red"))
    now = seen.change.after
    for columns in (tables.pools(now), tables.models(seen.change, seen.models), tables.endpoints(now)):
        if columns:
            parts += [Text(), table(columns, max(width, NARROWEST))]
    return Group(*parts)


def _head(seen: Seen) -> Text:
    change = seen.change
    requests, ok = change.rate(tables.REQUESTS), change.rate(tables.REQUESTS, code="OK")
    facts = [
        f"{number(requests)} requests/s",
        f"{share(None if not requests or ok is None else 1 - ok / requests)} not OK",
        f"{number(change.rate(tables.TOKENS, direction='output'))} tokens/s",
        f"{number(change.after.value(tables.RUNNING))} running",
        f"{number(change.after.value(tables.QUEUED))} queued",
        f"event loop {seconds(change.quantile(0.99, 'sensorium_gateway_event_loop_lag_seconds'))} late",
    ]
    return Text.assemble((printable(seen.target), "bold"), f"  {seen.clock}  ", " · ".join(facts))
