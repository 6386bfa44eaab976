"""Outlier detection: takes failing endpoints out of routing for a while. Pure: the clock is a parameter.

in use ──5 failures in a row, or over half of at least 10 in 30 s──► ejected for 15 s, then 30 s, 45 s … 5 min
  ▲                                                                      │
  └── slow start ◄──success── one probe at a time ◄──────────────────────┘
                                    └──failure──► ejected for longer
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

EJECTED_FOR = ("failures_in_a_row", "failure_ratio", "probe_failed")
"""Why an endpoint is ejected."""

_IN_A_ROW_REASON, _RATIO_REASON, _PROBE_REASON = EJECTED_FOR

_IN_A_ROW = 5
_RATIO = 0.5
_AT_LEAST = 10
_WINDOW_SECONDS = 30.0
_SLICE_SECONDS = 5.0
_FIRST_SECONDS = 15.0
_LONGEST_SECONDS = 300.0
_FORGIVEN_SECONDS = 300.0
_SLOW_START_SECONDS = 30.0
_LEAST_SHARE = 0.1


@dataclass(slots=True)
class _Slice:
    """Counts of the calls that ended within a few seconds. Counting by slices bounds memory for busy endpoints."""

    begun: float
    ended: int = 0
    failed: int = 0


@dataclass(slots=True)
class Ejection:
    """The state machine for one endpoint. `clock` is monotonic, in seconds."""

    clock: Callable[[], float]
    _failures_in_a_row: int = 0
    _slices: deque[_Slice] = field(default_factory=lambda: deque[_Slice]())
    _ejections: int = 0
    """Ejections since the counter was last reset."""
    _until: float | None = None
    """When the ejection ends and a probe may be sent; None while it is in use."""
    _probing: bool = False
    _returned: float | None = None
    """When it last returned into use; None if it never was ejected."""

    @property
    def closed(self) -> bool:
        """Whether it gets no calls now: it is ejected, or its probe is running."""
        return self._until is not None and (self._probing or self.clock() < self._until)

    @property
    def proving(self) -> bool:
        """Whether the next call is its probe."""
        return self._until is not None and not self.closed

    @property
    def share(self) -> float:
        """Fraction of its capacity that may be used, in (0, 1]; grows linearly after an ejection (slow start)."""
        if self._returned is None:
            return 1.0
        return min(max((self.clock() - self._returned) / _SLOW_START_SECONDS, _LEAST_SHARE), 1.0)

    @property
    def settled(self) -> bool:
        """Whether it is in use with all of its capacity, so that only calls change anything."""
        return self._until is None and (self._returned is None or self.share == 1.0)

    def dispatched(self) -> bool:
        """Registers a call sent to it; returns whether that call is its probe."""
        if not self.proving:
            return False
        self._probing = True
        return True

    def ended(self, worked: bool | None, probe: bool, may_eject: Callable[[], bool]) -> str:
        """Registers the end of a call: `worked` is None if it says nothing about the endpoint.

        `may_eject` is asked before an ejection, except after a failed probe. Returns the reason if the call caused an
        ejection, one of EJECTED_FOR, else an empty string.
        """
        if probe:
            return self._probe_ended(worked)
        if self._until is not None or worked is None:
            # Calls begun before the ejection do not count twice.
            return ""
        reason = self._reason(worked)
        if not reason or not may_eject():
            return ""
        self._eject()
        return reason

    def _probe_ended(self, worked: bool | None) -> str:
        self._probing = False
        if worked is None:
            return ""
        if worked:
            self._until, self._returned = None, self.clock()
            return ""
        self._eject()
        return _PROBE_REASON

    def _reason(self, worked: bool) -> str:
        now = self.clock()
        if not self._slices or now - self._slices[-1].begun >= _SLICE_SECONDS:
            self._slices.append(_Slice(now))
        while now - self._slices[0].begun > _WINDOW_SECONDS:
            self._slices.popleft()
        self._slices[-1].ended += 1
        if worked:
            self._failures_in_a_row = 0
            return ""
        self._failures_in_a_row += 1
        self._slices[-1].failed += 1
        if self._failures_in_a_row >= _IN_A_ROW:
            return _IN_A_ROW_REASON
        ended = sum(piece.ended for piece in self._slices)
        failed = sum(piece.failed for piece in self._slices)
        return _RATIO_REASON if ended >= _AT_LEAST and failed > _RATIO * ended else ""

    def _eject(self) -> None:
        now = self.clock()
        if self._until is None and self._returned is not None and now - self._returned > _FORGIVEN_SECONDS:
            self._ejections = 0
        self._ejections += 1
        self._until = now + min(_FIRST_SECONDS * self._ejections, _LONGEST_SECONDS)
        self._failures_in_a_row = 0
        self._slices.clear()
