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
    session: bool = False
    """Whether it is open for as long as its caller likes, as live audio is, and mostly idle: it takes no slot."""

    def __post_init__(self) -> None:
        # Beyond the contract's range the service refuses it; until then it must not overtake anyone.
        if not -_HIGHEST <= self.priority <= _HIGHEST:
            self.priority = 0

    @property
    def band(self) -> str:
        """The name of its priority in metrics."""
        return BANDS[1] if not self.priority else BANDS[0] if self.priority > 0 else BANDS[2]
