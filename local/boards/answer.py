"""Evaluates the queries of a panel."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from k8s.monitoring.panel import Panel, Query
from k8s.monitoring.promql import filled
from local.prometheus import Prometheus, Series


@dataclass(frozen=True)
class Line:
    """One series of a panel. Points are (Unix time in seconds, finite value)."""

    name: str
    points: Sequence[tuple[float, float]]

    @property
    def value(self) -> float:
        """The newest value."""
        return self.points[-1][1]


@dataclass(frozen=True)
class Span:
    """The time range of a board, in Unix seconds: a point every `step`, rates over `interval`."""

    start: float
    end: float
    step: float
    interval: float


def answers(prometheus: Prometheus, panel: Panel, span: Span) -> list[Line]:
    """Returns the series of all queries of a panel, sorted by name, without those that have no finite value."""
    lines: list[Line] = []
    for query in panel.queries:
        for series in prometheus.over(filled(query.expr, f"{span.interval:g}s"), span.start, span.end, span.step):
            if points := [(moment, value) for moment, value in series.points if math.isfinite(value)]:
                lines.append(Line(_name(query, series, panel), points))
    return sorted(lines, key=lambda line: line.name)


def _name(query: Query, series: Series, panel: Panel) -> str:
    """Returns a series' name as in Grafana: the filled-in legend, else the labels."""
    if query.legend:
        return re.sub(r"{{(\w+)}}", lambda found: series.labels.get(found[1], ""), query.legend).strip() or panel.title
    return ", ".join(_pairs(series.labels)) or panel.title


def _pairs(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(labels.items())]
