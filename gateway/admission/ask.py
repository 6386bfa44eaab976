"""What a call asks of admission."""

from collections.abc import Collection
from dataclasses import dataclass

BANDS = ("high", "normal", "low")
"""What priorities are called in metrics: above 0, 0, and below."""

_HIGHEST = 10


@dataclass(slots=True)
class Ask:
    """One call that wants an endpoint."""

    tasks: Collection[int]
    model: str
    """As the caller gave it; once it is known, the one model that an empty name means."""
    priority: int = 0
    tenant: str = ""
    size: int = 0
    """Bytes of its request, which are held while it waits."""
    slots: int = 1
    """How many slots it takes: none where the model hardly notices it; such a call waits only for an endpoint."""

    def __post_init__(self) -> None:
        # Beyond the contract's range the service refuses it; until then it must not overtake anyone.
        if not -_HIGHEST <= self.priority <= _HIGHEST:
            self.priority = 0

    @property
    def band(self) -> str:
        """The name of its priority in metrics."""
        return BANDS[1] if not self.priority else BANDS[0] if self.priority > 0 else BANDS[2]
