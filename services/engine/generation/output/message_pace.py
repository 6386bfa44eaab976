"""How often streams may tell what is new."""

import asyncio
from collections.abc import Callable

_BURST_SECONDS = 0.1
"""Of messages that may leave at once: those of a step for all streams do, and steps are not all of one length."""
_LONGEST_SECONDS = 0.05
"""For which what came too early waits for what comes next."""


class MessagePace:
    """A bound on the messages of all streams together, so that sending leaves the processor to computing.

    Belongs to the event loop.
    """

    def __init__(self, per_second: int) -> None:
        """`per_second` 0 sets no bound."""
        self.open = 0
        """Streams that have not ended, but for those that are read whole."""
        self._per_second = per_second
        self._ahead = 0.0  # messages that left earlier than at an even pace
        self._last = 0.0
        self._held: set[Callable[[], None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def gap_seconds(self) -> float:
        """Time between two messages of one stream where the bound is reached, while as many are open as now."""
        return self.open / self._per_second if self._per_second else 0.0

    def sent(self, now: float) -> float:
        """Takes that a stream's message leaves `now`; returns when the next one of that stream may."""
        if not self._per_second:
            return now
        self._ahead = max(self._ahead - (now - self._last) * self._per_second, 0.0) + 1
        self._last = now
        return now if self._ahead <= _BURST_SECONDS * self._per_second else now + self.gap_seconds

    def hold(self, stir: Callable[[], None]) -> None:
        """Calls `stir` of a stream in a while: what it holds back leaves with what comes next, which may not come soon.

        One timer does for all streams, as each wakes the event loop in the midst of a step.
        """
        self._held.add(stir)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LONGEST_SECONDS, self._stir_all)

    def _stir_all(self) -> None:
        self._timer = None
        held, self._held = self._held, set()
        for stir in held:
            stir()
