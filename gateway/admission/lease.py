"""A call's slot at an endpoint, held while the call runs there."""

import time
from collections.abc import Callable

from gateway.admission.ask import Ask
from gateway.admission.lane import Lane
from gateway.endpoints.endpoint import Endpoint


class Lease:
    """Occupies the call's slots at an endpoint from its creation until `release` (the exit of `with`).

    Set before the release: `worked`, whether the endpoint did its part (None: unknown); `full_seconds`, for how long
    the endpoint takes no further calls (0: it did not answer QUEUE_FULL); `tokens`, the call's cost (0: not reported).
    """

    def __init__(self, lane: Lane, endpoint: Endpoint, ask: Ask, ended: "Callable[[Lease], None]") -> None:
        self.lane = lane
        self.endpoint = endpoint
        self.worked: bool | None = None
        self.full_seconds = 0.0
        self.tokens = 0
        self.begun = time.monotonic()
        self.charged = lane.tokens.value or 1.0
        self.ask = ask
        self.ejection = endpoint.ejection
        """The ejection record when the call began. A restarted endpoint has a new one, unaffected by this call."""
        self.probe = self.ejection.dispatched()
        self._ended = ended
        endpoint.begin(ask.slots)
        lane.running += ask.slots
        lane.shares.serve(ask.tenant, self.charged)

    def answered(self) -> None:
        """Called when the endpoint begins to answer: a probe then succeeds, without waiting for the end of a stream."""
        if self.probe:
            self.probe = False
            self.ejection.ended(True, True, lambda: False)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Frees the slots, and records duration, cost and outcome."""
        lane, ask = self.lane, self.ask
        self.endpoint.end(ask.slots)
        if self.full_seconds:
            self.endpoint.refused(self.full_seconds)
        lane.running -= ask.slots
        if ask.slots:
            lane.seconds.observe(time.monotonic() - self.begun)
        if self.tokens:
            lane.tokens.observe(self.tokens)
            lane.shares.settle(ask.tenant, self.tokens - self.charged)
        self._ended(self)
        self.probe = False
