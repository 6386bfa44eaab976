"""A call's request for a slot, as admission sees it."""

from collections.abc import Collection
from dataclasses import dataclass

BANDS = ("high", "normal", "low")
"""Names of priority bands in metrics: priority above 0, equal to 0, below 0."""

_HIGHEST = 10


@dataclass(slots=True)
class Ask:
    """One call that wants an endpoint."""

    tasks: Collection[int]
    model: str
    """The model's name from the request. If empty, admission sets it to the only model for the tasks."""
    priority: int = 0
    tenant: str = ""
    size: int = 0
    """Size in bytes of the request, which stays in memory while the call waits."""
    slots: int = 1
    """Slots that it occupies. 0: the call costs the model next to nothing, and waits only if no endpoint is ready."""

    def __post_init__(self) -> None:
        # The service will refuse a priority outside the contract's range; in the queue it must not overtake others.
        if not -_HIGHEST <= self.priority <= _HIGHEST:
            self.priority = 0

    @property
    def band(self) -> str:
        """The priority band, one of BANDS."""
        return BANDS[1] if not self.priority else BANDS[0] if self.priority > 0 else BANDS[2]
