"""A mean that follows what it measures."""

_WEIGHT = 0.1
_ENOUGH = 5


class Mean:
    """The mean of what was observed, the latest counting most; `value` is None before there was enough."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._count = 0

    @property
    def value(self) -> float | None:
        """The mean."""
        return self._mean if self._count >= _ENOUGH else None

    def observe(self, value: float) -> None:
        """Takes one observation in."""
        self._count += 1
        self._mean += (value - self._mean) * max(_WEIGHT, 1 / self._count)
