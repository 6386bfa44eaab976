"""Recordings of what the objectives count, and alerts on how fast their budgets burn.

A burn rate of 1 spends the budget in exactly the period. Each alert asks a long window, so that a blip alarms nobody,
and a short one, so that it ends soon after its cause.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from k8s.monitoring.objectives import DAYS, HOURS, OBJECTIVES, Objective, errors, events, ratio
from k8s.monitoring.rule import Alert, Group, Recording

LEAST_EVENTS = 20
"""In the long window, for an alert: of a handful, one failure is a large share and says nothing."""

_BASE = "30m"
_DAYS_INTERVAL = "2m"
"""Days do not change from one scrape to the next; more than 5 minutes, and Prometheus would call the series stale."""

SECONDS = {"1h": 3600, "6h": 6 * 3600, "1d": 86400, "3d": 3 * 86400}


@dataclass(frozen=True)
class Burn:
    """How fast a budget burns, over which windows, and what is done about it."""

    factor: float
    long: str
    short: str
    lasting: str
    severity: str

    @property
    def spent(self) -> float:
        """The share of the period's budget that is gone when the long window is full."""
        return self.factor * SECONDS[self.long] / (30 * 86400)


BURNS = (
    Burn(14.4, "1h", "5m", "2m", "critical"),
    Burn(6, "6h", "30m", "15m", "critical"),
    Burn(3, "1d", "2h", "1h", "warning"),
    Burn(1, "3d", "6h", "3h", "warning"),
)


def of_hours() -> Iterator[Recording]:
    """Yields, for every window of hours, events and bad ones of each objective, and the share of all that were bad."""
    for window in HOURS:
        for objective in OBJECTIVES:
            labels = {"slo": objective.slo}
            yield Recording(record=events(window), expr=objective.events.replace("WINDOW", window), labels=labels)
            yield Recording(record=errors(window), expr=objective.bad.replace("WINDOW", window), labels=labels)
        yield _share(window)


def of_days() -> Iterator[Recording]:
    """Yields the same for windows of days, from what was recorded for a shorter one.

    Of the metrics themselves there are too many samples in 30 days: one series for each gateway, task, model and code.
    """
    for window in DAYS:
        for recorded in (events, errors):
            yield Recording(record=recorded(window), expr=f"avg_over_time({recorded(_BASE)}[{window}])")
        yield _share(window)


def _share(window: str) -> Recording:
    # A model without events has no share.
    return Recording(record=ratio(window), expr=f"{errors(window)}\n/\n({events(window)} > 0)")


def alert(objective: Objective, burn: Burn) -> Alert:
    """Returns the alert on one objective and one pace of burning."""
    limit = round(burn.factor * objective.budget, 10)
    assert limit < 1, "no share of bad events is over 1: this alert could never fire"
    which = f'{{slo="{objective.slo}"}}'
    least = f"{events(burn.long)}{which} * {SECONDS[burn.long]} >= {LEAST_EVENTS}"
    return Alert(
        alert=objective.alert,
        expr=f"{ratio(burn.long)}{which} > {limit}\nand\n{ratio(burn.short)}{which} > {limit}\nand\n{least}",
        lasting=burn.lasting,
        severity=burn.severity,
        summary=f"{{{{ $labels.model }}}} spends its budget of {objective.slo} {burn.factor:g} times too fast.",
        description=(
            f"{{{{ $value | humanizePercentage }}}} of events of the last {burn.long} were bad; promised are "
            f"{objective.share:.1%} of {objective.promise} over 30 days. At this pace {burn.spent:.0%} of the budget "
            f"is gone in {burn.long}."
        ),
        labels={"slo": objective.slo, "window": burn.long},
    )


def groups() -> list[Group]:
    """Returns the groups of recordings, and one of alerts for each objective."""
    families = (
        Group(f"sensorium-{objective.slo.replace('_', '-')}-burn", [alert(objective, burn) for burn in BURNS])
        for objective in OBJECTIVES
    )
    return [
        Group("sensorium-slo", list(of_hours())),
        Group("sensorium-slo-days", list(of_days()), _DAYS_INTERVAL),
        *families,
    ]
