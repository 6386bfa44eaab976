"""The HorizontalPodAutoscaler's algorithm for one external metric with a target per replica, as documented.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

import math
from collections.abc import Callable, Sequence

from benchmarks.autoscale.policy import Direction, Policy, Rule

SYNC_SECONDS = 15.0
TOLERANCE = 0.1


class HorizontalAutoscaler:
    """Decides on the number of replicas. Callers pass the time; it reads no clock."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._recommended: list[tuple[float, int]] = []
        self._changes: list[tuple[float, int]] = []
        """(time, change) of each scaling: positive for added replicas."""

    def replicas(self, now: float, current: int, metric: float) -> int:
        """Returns the number of replicas wanted for the metric's sum over all replicas. `current` is at least 1."""
        policy = self._policy
        stable = self._stabilized(now, current, self._wanted(current, metric))
        if stable > current:
            allowed = max(self._limit(now, current, policy.up, +1), current)
            chosen = min(stable, allowed, policy.maximum)
        elif stable < current:
            allowed = min(self._limit(now, current, policy.down, -1), current)
            chosen = max(stable, allowed, policy.hpa_minimum)
        else:
            chosen = current
        chosen = min(max(chosen, policy.hpa_minimum), policy.maximum)
        if chosen != current:
            self._changes.append((now, chosen - current))
        return chosen

    def _wanted(self, current: int, metric: float) -> int:
        if abs(metric / (self._policy.target * current) - 1) <= TOLERANCE:
            return current
        return math.ceil(metric / self._policy.target)

    def _stabilized(self, now: float, current: int, wanted: int) -> int:
        """Applies stabilization windows: up to the least, down to the most that was wanted in the window."""
        up, down = self._policy.up.window, self._policy.down.window
        highest = max([wanted, *(count for at, count in self._recommended if at > now - down)])
        lowest = min([wanted, *(count for at, count in self._recommended if at > now - up)])
        self._recommended = [(at, count) for at, count in self._recommended if at > now - max(up, down)]
        self._recommended.append((now, wanted))
        return min(max(current, lowest), highest)

    def _limit(self, now: float, current: int, direction: Direction, sign: int) -> int:
        """Returns the bound that the rules set, counted from the size at the start of each rule's period."""
        if direction.select == "Disabled":
            return current
        limits = [_proposed(rule, current - self._changed(now, rule.period), sign) for rule in direction.rules]
        furthest: Callable[[Sequence[int]], int] = max if (sign > 0) == (direction.select == "Max") else min
        return furthest(limits)

    def _changed(self, now: float, period: float) -> int:
        return sum(count for at, count in self._changes if at > now - period)


def _proposed(rule: Rule, began: int, sign: int) -> int:
    if not rule.percent:
        return began + sign * rule.value
    share = began * (1 + sign * rule.value / 100)
    return math.ceil(share) if sign > 0 else math.floor(share)
