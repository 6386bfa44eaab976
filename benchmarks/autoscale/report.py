"""Reports simulated days as a table and a picture."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from benchmarks.autoscale.plot import COLOURS, Line, Panel, svg
from benchmarks.autoscale.simulation import SAMPLE_SECONDS, Outcome
from benchmarks.autoscale.trace import Trace
from benchmarks.tables import table_of

BIN_SECONDS = 300.0


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the percentile `share` (0 to 1) of the values; 0 if there are none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def table(title: str, outcomes: Mapping[str, Outcome]) -> Table:
    """Returns a table with a row for each fleet."""
    found = table_of("fleet", "replicas", "GPU-hours", "wait p50", "p99", "waited", "expired", title=title)
    for name, outcome in outcomes.items():
        found.add_row(name, *_cells(outcome))
    return found


def _cells(outcome: Outcome) -> tuple[str, ...]:
    counts = [sample.replicas for sample in outcome.samples]
    waits = [wait for _, wait in outcome.waits]
    waited = sum(wait > 0 for wait in waits) / max(len(waits), 1)
    replicas = f"{min(counts)}–{max(counts)}" if min(counts) < max(counts) else str(counts[0])
    return (
        replicas,
        f"{outcome.gpu_hours:.1f}",
        f"{percentile(waits, 0.5):.1f} s",
        f"{percentile(waits, 0.99):.1f} s",
        f"{100 * waited:.1f} %",
        f"{100 * outcome.expired / max(outcome.arrived, 1):.2f} %",
    )


def picture(title: str, trace: Trace, outcomes: Mapping[str, Outcome]) -> str:
    """Returns the day as SVG."""
    came = _binned([(arrival.time, 1.0) for arrival in trace.arrivals], trace.seconds)
    rates = [len(values) / BIN_SECONDS for values in came]
    replicas, waits = [], []
    for colour, (name, outcome) in zip(COLOURS, outcomes.items(), strict=False):
        per_bin = round(BIN_SECONDS / SAMPLE_SECONDS)
        replicas.append(Line(name, [float(sample.replicas) for sample in outcome.samples[::per_bin]], colour))
        longest = [percentile(values, 0.99) for values in _binned(outcome.waits, trace.seconds)]
        waits.append(Line(name, longest, colour))
    panels = (
        Panel("requests per second, over the hours of the day", (Line("", rates, "#111827"),)),
        Panel("replicas that hold a GPU", tuple(replicas)),
        Panel("wait until a replica runs it, p99 of five minutes, s", tuple(waits)),
    )
    return svg(title, panels, trace.seconds / 3600)


def _binned(values: Sequence[tuple[float, float]], seconds: float) -> list[list[float]]:
    bins: list[list[float]] = [[] for _ in range(math.ceil(seconds / BIN_SECONDS))]
    for time, value in values:
        bins[min(int(time / BIN_SECONDS), len(bins) - 1)].append(value)
    return bins
