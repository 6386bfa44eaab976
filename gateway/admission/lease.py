"""The right of one call to an endpoint."""

import time
from collections.abc import Callable

from gateway.admission.ask import Ask
from gateway.admission.lane import Lane
from gateway.endpoint import Endpoint


class Lease:
    """Holds the slots of a call at an endpoint from when it is made to the exit of `with`.

    On the way out, `worked` tells whether the endpoint did its part, None where the call's end says nothing of that;
    `full_seconds` for how long the endpoint has no room, 0 where it did not refuse for that, and `tokens` what the call
    cost, 0 where nobody told.
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
        """What judges the endpoint by this call: that of the process which was there when it began."""
        self.probe = self.ejection.dispatched()
        self._ended = ended
        endpoint.begin(ask.slots)
        lane.running += ask.slots
        lane.shares.serve(ask.tenant, self.charged)

    def answered(self) -> None:
        """Tells that the endpoint began to answer: a probe need not wait for the end of a long stream."""
        if self.probe:
            self.probe = False
            self.ejection.ended(True, True, lambda: False)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Gives the slots back."""
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
