"""Builders of PromQL expressions for rules and boards."""

import re

BY_MODEL = "namespace, model"
BY_POOL = "namespace, pool"
"""Labels to group by. The namespace separates installations that share one Prometheus."""

_INTERVAL = "$__rate_interval"
_VARIABLE = re.compile(r"\$\w+")


def rate(counter: str, where: str, by: str = "") -> str:
    """Returns the per-second rate of a counter over Grafana's rate interval, summed by the labels `by`."""
    return f"{_sum(by)} (rate({counter}{{{where}}}[{_INTERVAL}]))"


def total(gauge: str, where: str, by: str = "") -> str:
    """Returns a gauge, summed by the labels `by`."""
    return f"{_sum(by)} ({gauge}{{{where}}})"


def quantile(share: float, histogram: str, where: str, by: str = "") -> str:
    """Returns the quantile `share` (in [0, 1]) of a histogram, by the labels `by`."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', where, labels)})"


def mean(histogram: str, where: str, by: str = "") -> str:
    """Returns the mean of a histogram's observations, by the labels `by`."""
    return f"{rate(f'{histogram}_sum', where, by)} / {rate(f'{histogram}_count', where, by)}"


def or_zero(expression: str, label: str = "") -> str:
    """Returns the expression, or a single zero if it has no series because no such event has happened yet.

    With a `label`, the zero has the value `none` in it.
    """
    zero = f'label_replace(vector(0), "{label}", "none", "", "")' if label else "vector(0)"
    return f"{expression} or on() {zero}"


def seldom(counter: str, where: str, by: str) -> str:
    """Returns the rate of a rare event: `rate` by `by`, or a single zero whose first label of `by` is `none`."""
    return or_zero(rate(counter, where, by), by.partition(",")[0])


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"


def filled(expression: str, interval: str) -> str:
    """Returns a board's expression with Grafana's variables filled in: rates over `interval`, all values selected."""
    return _VARIABLE.sub(".*", expression.replace(_INTERVAL, interval))
