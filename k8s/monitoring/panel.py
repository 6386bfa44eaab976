"""Panels: PromQL queries, and how Grafana shows their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["timeseries", "stat", "bargauge"]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and the legend of its series: text with `{{label}}` placeholders."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Step:
    """A threshold: values from `value` on have this colour."""

    value: float
    colour: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. `unit` is a unit id of Grafana; `width` and `height` are in grid units (a board is 24 wide).

    A `stat` shows the newest value of each query, a `bargauge` those of all series, a `timeseries` values over time.
    `steps` colour the values of the first two, and are drawn as lines in the third.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 7
    steps: Sequence[Step] = ()
    base: str = ""
    """The colour below the first step. Empty: text colour for a `stat`, else green."""
    stacked: bool = False
    lowest: float | None = 0
    highest: float | None = None
    exemplars: bool = False
    """Whether exemplars are shown: single requests as points that link to their traces."""

    def colour(self, value: float) -> str:
        """Returns the colour of a value."""
        reached = [step.colour for step in self.steps if value >= step.value]
        return reached[-1] if reached else self.base or ("text" if self.kind == "stat" else "green")

    def document(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Returns the panel in Grafana's JSON model, with its id and place."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
        }

    def _target(self, place: int, query: Query) -> dict[str, Any]:
        target: dict[str, Any] = {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
        }
        if self.exemplars:
            target["exemplar"] = True
        if self.kind != "timeseries":
            target["instant"] = True
        return target

    def _defaults(self) -> dict[str, Any]:
        steps = [
            {"color": self.colour(float("-inf")), "value": None},
            *({"color": step.colour, "value": step.value} for step in self.steps),
        ]
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
        }
        if self.lowest is not None:
            defaults["min"] = self.lowest
        if self.highest is not None:
            defaults["max"] = self.highest
        if self.kind == "timeseries":
            defaults["custom"] = {
                "lineWidth": 1,
                "fillOpacity": 25 if self.stacked else 5,
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none"},
                "thresholdsStyle": {"mode": "line" if self.steps else "off"},
            }
        return defaults

    def _options(self) -> dict[str, Any]:
        if self.kind == "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        reduced: dict[str, Any] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        if self.kind == "bargauge":
            return {"reduceOptions": reduced, "orientation": "horizontal", "displayMode": "basic"}
        return {"reduceOptions": reduced, "colorMode": "value", "graphMode": "none", "textMode": "auto"}
