"""Whether the peer of a connection is still there."""

import asyncio
from collections.abc import Callable

_GREETING_SECONDS = 20.0
_QUIET_SECONDS = 30.0
_ANSWER_SECONDS = 10.0


class Heartbeat:
    """Gives a peer up that does not greet, or that later is quiet and then answers nothing to a ping."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ping: Callable[[], None], give_up: Callable[[], None]) -> None:
        self.heard = loop.time()
        """When anything came from the peer last, on the loop's clock. To be set by whoever takes it."""
        self._asked = 0.0
        self._loop = loop
        self._ping = ping
        self._give_up = give_up
        self._timer = loop.call_later(_GREETING_SECONDS, give_up)

    def greeted(self) -> None:
        """Takes that the peer has greeted."""
        self._timer.cancel()
        self._look()

    def stop(self) -> None:
        """Looks no more."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        left = self.heard + _QUIET_SECONDS - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._asked = now
            self._ping()
            self._timer = self._loop.call_later(_ANSWER_SECONDS, self._expect)

    def _expect(self) -> None:
        if self.heard >= self._asked:
            self._look()
        else:
            self._give_up()
