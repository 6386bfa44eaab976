"""Prometheus recording rules and alerts, and their YAML documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RUNBOOKS = "docs/runbooks"
"""Prefix of `runbook_url`: a path in this repository. Replace it by a URL where the runbooks are published."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording rule: a precomputed series."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def document(self) -> dict[str, Any]:
        """Returns the rule as in a Prometheus rule file."""
        rule: dict[str, Any] = {"record": self.record, "expr": self.expr}
        return rule | ({"labels": dict(self.labels)} if self.labels else {})


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert. `severity` is `critical` (pages somebody) or `warning` (is looked at during the day).

    Its runbook is the page with the alert's name.
    """

    alert: str
    expr: str
    lasting: str
    """How long the expression must hold (`for`), such as `5m`."""
    severity: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def document(self) -> dict[str, Any]:
        """Returns the rule as in a Prometheus rule file."""
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity, "product": "sensorium", **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.alert}.md",
            },
        }


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated in order, every `interval` (None: Prometheus' default)."""

    name: str
    rules: Sequence[Recording | Alert]
    interval: str | None = None

    def document(self) -> dict[str, Any]:
        """Returns the group as in a Prometheus rule file."""
        interval = {"interval": self.interval} if self.interval else {}
        return {"name": self.name, **interval, "rules": [rule.document() for rule in self.rules]}
