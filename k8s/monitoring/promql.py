"""Expressions that rules and boards are made of."""

import re

BY_MODEL = "namespace, model"
BY_POOL = "namespace, pool"
"""The namespace tells installations apart that one Prometheus watches."""

_INTERVAL = "$__rate_interval"
_VARIABLE = re.compile(r"\$\w+")


def rate(counter: str, where: str, by: str = "") -> str:
    """Returns how much of a counter came per second, added up by the labels `by`, over a board's own interval."""
    return f"{_sum(by)} (rate({counter}{{{where}}}[{_INTERVAL}]))"


def total(gauge: str, where: str, by: str = "") -> str:
    """Returns a gauge, added up by the labels `by`."""
    return f"{_sum(by)} ({gauge}{{{where}}})"


def quantile(share: float, histogram: str, where: str, by: str = "") -> str:
    """Returns what `share` of the observations of a histogram stay under, by the labels `by`."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', where, labels)})"


def mean(histogram: str, where: str, by: str = "") -> str:
    """Returns the mean of the observations of a histogram, by the labels `by`."""
    return f"{rate(f'{histogram}_sum', where, by)} / {rate(f'{histogram}_count', where, by)}"


def or_zero(expression: str, label: str = "") -> str:
    """Returns the expression, or one zero where it has no series because nothing of the kind has happened yet.

    Where the series are told apart by a label, the zero's is `none`.
    """
    zero = f'label_replace(vector(0), "{label}", "none", "", "")' if label else "vector(0)"
    return f"{expression} or on() {zero}"


def seldom(counter: str, where: str, by: str) -> str:
    """Returns the rate of what may not have happened yet; then it is one zero, of which the first label is `none`."""
    return or_zero(rate(counter, where, by), by.partition(",")[0])


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"


def filled(expression: str, interval: str) -> str:
    """Returns a board's expression as Grafana asks it: rates over `interval`, all values of variables chosen."""
    return _VARIABLE.sub(".*", expression.replace(_INTERVAL, interval))
