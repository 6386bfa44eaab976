"""Whether the peer of a connection is still there."""

import asyncio
from collections.abc import Callable

_GREETING_SECONDS = 20.0
_QUIET_SECONDS = 30.0
_ANSWER_SECONDS = 10.0


class Heartbeat:
    """Gives a peer up that does not greet, or that later answers nothing to a ping."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ping: Callable[[], None], give_up: Callable[[], None]) -> None:
        self.heard = True
        """To be set by whatever comes from the peer."""
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
        if self.heard:
            self.heard = False
            self._timer = self._loop.call_later(_QUIET_SECONDS, self._look)
        else:
            self._ping()
            self._timer = self._loop.call_later(_ANSWER_SECONDS, self._expect)

    def _expect(self) -> None:
        if self.heard:
            self._look()
        else:
            self._give_up()
