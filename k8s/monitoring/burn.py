"""Recording rules of the objectives' events, and multi-window alerts on the burn rates of their error budgets.

A burn rate of 1 uses up the budget in exactly the period. Each alert checks a long window, so that a short disturbance
does not fire it, and a short window, so that it resolves soon after its cause is gone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from k8s.monitoring.objectives import DAYS, HOURS, OBJECTIVES, Objective, errors, events, ratio
from k8s.monitoring.rule import Alert, Group, Recording

LEAST_EVENTS = 20
"""Minimum number of events in an alert's long window: of a handful, one failure would be a large share."""

_BASE = "30m"
_DAYS_INTERVAL = "2m"
"""Windows of days change slowly. Above 5 minutes, Prometheus would treat the series as stale."""

SECONDS = {"1h": 3600, "6h": 6 * 3600, "1d": 86400, "3d": 3 * 86400}


@dataclass(frozen=True)
class Burn:
    """One alert threshold: burn rate, long and short window, `for` duration, and severity."""

    factor: float
    long: str
    short: str
    lasting: str
    severity: str

    @property
    def spent(self) -> float:
        """Fraction of the 30 days' budget that this rate uses up in the long window."""
        return self.factor * SECONDS[self.long] / (30 * 86400)


BURNS = (
    Burn(14.4, "1h", "5m", "2m", "critical"),
    Burn(6, "6h", "30m", "15m", "critical"),
    Burn(3, "1d", "2h", "1h", "warning"),
    Burn(1, "3d", "6h", "3h", "warning"),
)


def of_hours() -> Iterator[Recording]:
    """Yields, for each window of hours, the rates of events and bad events of each objective, and the bad fraction."""
    for window in HOURS:
        for objective in OBJECTIVES:
            labels = {"slo": objective.slo}
            yield Recording(record=events(window), expr=objective.events.replace("WINDOW", window), labels=labels)
            yield Recording(record=errors(window), expr=objective.bad.replace("WINDOW", window), labels=labels)
        yield _share(window)


def of_days() -> Iterator[Recording]:
    """Yields the same for windows of days, as averages of the recordings for 30 minutes.

    The raw metrics have too many samples in 30 days: one series for each gateway, task, model and code.
    """
    for window in DAYS:
        for recorded in (events, errors):
            yield Recording(record=recorded(window), expr=f"avg_over_time({recorded(_BASE)}[{window}])")
        yield _share(window)


def _share(window: str) -> Recording:
    # A model without events has no ratio.
    return Recording(record=ratio(window), expr=f"{errors(window)}\n/\n({events(window)} > 0)")


def alert(objective: Objective, burn: Burn) -> Alert:
    """Returns the alert for one objective and one threshold."""
    limit = round(burn.factor * objective.budget, 10)
    assert limit < 1, "a ratio of bad events is at most 1, so this alert could never fire"
    which = f'{{slo="{objective.slo}"}}'
    least = f"{events(burn.long)}{which} * {SECONDS[burn.long]} >= {LEAST_EVENTS}"
    return Alert(
        alert=objective.alert,
        expr=f"{ratio(burn.long)}{which} > {limit}\nand\n{ratio(burn.short)}{which} > {limit}\nand\n{least}",
        lasting=burn.lasting,
        severity=burn.severity,
        summary=f"{{{{ $labels.model }}}} burns its error budget of {objective.slo} {burn.factor:g} times too fast.",
        description=(
            f"{{{{ $value | humanizePercentage }}}} of events of the last {burn.long} were bad; the objective is "
            f"{objective.share:.1%} of {objective.promise} over 30 days. At this pace {burn.spent:.0%} of the budget "
            f"is gone in {burn.long}."
        ),
        labels={"slo": objective.slo, "window": burn.long},
    )


def groups() -> list[Group]:
    """Returns the groups of recording rules, and one group of alerts for each objective."""
    families = (
        Group(f"sensorium-{objective.slo.replace('_', '-')}-burn", [alert(objective, burn) for burn in BURNS])
        for objective in OBJECTIVES
    )
    return [
        Group("sensorium-slo", list(of_hours())),
        Group("sensorium-slo-days", list(of_days()), _DAYS_INTERVAL),
        *families,
    ]
