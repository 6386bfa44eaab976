"""Rules of Prometheus, and how they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RUNBOOKS = "docs/runbooks"
"""Where `runbook_url` leads: in this repository. Whoever publishes it elsewhere puts the address here."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A series that is computed ahead."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def document(self) -> dict[str, Any]:
        """Returns the rule as Prometheus reads it."""
        rule: dict[str, Any] = {"record": self.record, "expr": self.expr}
        return rule | ({"labels": dict(self.labels)} if self.labels else {})


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A condition that a person should know of.

    `severity` is `critical` (somebody is woken) or `warning` (somebody looks during the day). The runbook is the page
    named like the alert.
    """

    alert: str
    expr: str
    lasting: str
    """How long it must hold, such as `5m`."""
    severity: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def document(self) -> dict[str, Any]:
        """Returns the rule as Prometheus reads it."""
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
    """Rules that are evaluated one after the other, each `interval` or as often as Prometheus evaluates by default."""

    name: str
    rules: Sequence[Recording | Alert]
    interval: str | None = None

    def document(self) -> dict[str, Any]:
        """Returns the group as Prometheus reads it."""
        interval = {"interval": self.interval} if self.interval else {}
        return {"name": self.name, **interval, "rules": [rule.document() for rule in self.rules]}
