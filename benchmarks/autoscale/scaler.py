"""Decides the size of a fleet: a fixed number, or KEDA and a HorizontalPodAutoscaler."""

from typing import Protocol

from benchmarks.autoscale.hpa import HorizontalAutoscaler
from benchmarks.autoscale.policy import Policy


class Scaler(Protocol):
    """Decides the number of replicas at regular intervals, from the metric as it was last scraped."""

    @property
    def first(self) -> int:
        """The number of replicas at the start of a day."""
        ...

    def replicas(self, now: float, current: int, metric: float) -> int:
        """Returns the number of replicas wanted. Called at every sync of the HorizontalPodAutoscaler."""
        ...


class Fixed:
    """The same number of replicas all day."""

    def __init__(self, count: int) -> None:
        self.first = count

    def replicas(self, now: float, current: int, metric: float) -> int:
        """Returns the fixed number."""
        del now, metric
        return current


class ByLoad:
    """The policy of the manifests. KEDA scales between 0 and 1, the HorizontalPodAutoscaler above that."""

    def __init__(self, policy: Policy) -> None:
        self.first = policy.hpa_minimum
        self._policy = policy
        self._autoscaler = HorizontalAutoscaler(policy)
        self._active_at = 0.0
        self._polled_at = float("-inf")

    def replicas(self, now: float, current: int, metric: float) -> int:
        """Returns the number of replicas wanted."""
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
