"""What tells a fleet its size: nothing, or KEDA and a HorizontalPodAutoscaler."""

from typing import Protocol

from benchmarks.autoscale.hpa import HorizontalAutoscaler
from benchmarks.autoscale.policy import Policy


class Scaler(Protocol):
    """Asked in turns of its own; told the metric as it was scraped last."""

    @property
    def first(self) -> int:
        """How many replicas a day begins with."""
        ...

    def replicas(self, now: float, current: int, metric: float) -> int:
        """Returns how many there shall be. Asked every time the HorizontalPodAutoscaler is."""
        ...


class Fixed:
    """As many all day."""

    def __init__(self, count: int) -> None:
        self.first = count

    def replicas(self, now: float, current: int, metric: float) -> int:
        """Returns the same."""
        del now, metric
        return current


class ByLoad:
    """The policy of the manifests. KEDA alone goes from none to one and from one to none."""

    def __init__(self, policy: Policy) -> None:
        self.first = policy.hpa_minimum
        self._policy = policy
        self._autoscaler = HorizontalAutoscaler(policy)
        self._active_at = 0.0
        self._polled_at = float("-inf")

    def replicas(self, now: float, current: int, metric: float) -> int:
        """Returns how many there shall be."""
        activation = self._policy.activation
        if activation is not None and now - self._polled_at >= activation.poll:
            self._polled_at = now
            if metric > activation.threshold:
                self._active_at = now
                if current == 0:
                    return self._policy.hpa_minimum
            elif self._policy.minimum == 0 and now - self._active_at >= activation.cooldown:
                return 0
        return self._autoscaler.replicas(now, current, metric) if current else 0
