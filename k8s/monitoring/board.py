"""Boards: layout of rows and panels, and their JSON for Grafana."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from k8s.monitoring.panel import DATASOURCE, Panel

WIDTH = 24
ROW_HEIGHT = 1


@dataclass(frozen=True)
class Row:
    """Panels under one title, laid out from left to right, then in further lines."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A dashboard variable: the values of `label` in the series of `metric`."""

    label: str
    metric: str

    def document(self) -> dict[str, Any]:
        """Returns the variable in Grafana's JSON model."""
        query = f"label_values({self.metric}, {self.label})"
        return {
            "name": self.label,
            "label": self.label,
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": "A"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            # Also matches series without the label, as outside a cluster.
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


@dataclass(frozen=True)
class Placed:
    """A panel, or the title of a row, with its place in Grafana's grid units (24 columns)."""

    what: Panel | str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board. `name` is the name of its file and part of its URL."""

    name: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        """All panels."""
        return [panel for row in self.rows for panel in row.panels]

    def placed(self) -> Iterator[Placed]:
        """Yields rows and panels with their places. A line is as high as its highest panel."""
        y = 0
        for row in self.rows:
            yield Placed(row.title, 0, y, WIDTH, ROW_HEIGHT)
            y += ROW_HEIGHT
            x = line = 0
            for panel in row.panels:
                if x + panel.width > WIDTH:
                    x, y, line = 0, y + line, 0
                yield Placed(panel, x, y, panel.width, panel.height)
                x, line = x + panel.width, max(line, panel.height)
            y += line

    def text(self) -> str:
        """Returns the board's JSON."""
        datasource = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
        document = {
            "uid": f"sensorium-{self.name}",
            "title": self.title,
            "description": self.description,
            "tags": ["sensorium"],
            "schemaVersion": 39,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [datasource, *(variable.document() for variable in self.variables)]},
            "panels": [self._document(number, placed) for number, placed in enumerate(self.placed(), 1)],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def _document(self, number: int, placed: Placed) -> dict[str, Any]:
        if isinstance(placed.what, Panel):
            return placed.what.document(number, placed.x, placed.y)
        place = {"x": placed.x, "y": placed.y, "w": placed.width, "h": placed.height}
        return {
            "id": number,
            "type": "row",
            "title": placed.what,
            "gridPos": place,
            "collapsed": False,
            "panels": [],
        }
