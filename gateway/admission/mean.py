"""A moving average."""

_WEIGHT = 0.1
_ENOUGH = 5


class Mean:
    """An exponential moving average (weight 0.1), which begins as the plain mean of the first ten values."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._count = 0

    @property
    def value(self) -> float | None:
        """The average; None before the fifth value."""
        return self._mean if self._count >= _ENOUGH else None

    def observe(self, value: float) -> None:
        """Adds a value."""
        self._count += 1
        self._mean += (value - self._mean) * max(_WEIGHT, 1 / self._count)
