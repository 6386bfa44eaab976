"""What a peer may do that costs it nothing and this side something: so often, and then its connection ends."""

from sensorium.rpc.http2.frames import ConnectionFault, ErrorCode

# As grpc's own server: pings that come sooner than this after the last one count, and two are forgiven.
_PING_SECONDS = 10.0
_PINGS = 2


class Allowance:
    """A number of things that may be done, which grows again with time and by what is earned."""

    def __init__(self, most: int, per_second: float, name: str, now: float) -> None:
        self._left = float(most)
        self._most = most
        self._per_second = per_second
        self._name = name
        self._since = now

    def take(self, now: float, count: int = 1) -> None:
        """Takes so many.

        Raises:
            ConnectionFault: there are fewer.
        """
        self._left = min(self._left + (now - self._since) * self._per_second, self._most) - count
        self._since = now
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {self._name}")

    def earn(self) -> None:
        """Adds one."""
        self._left = min(self._left + 1, self._most)


class PingLimit:
    """Pings of a peer to which nothing else is sent."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._puts = 0
        self._strikes = 0

    def take(self, now: float, puts: int) -> None:
        """Takes a ping, which is answered; `puts` is how often anything was sent before.

        Raises:
            ConnectionFault: there were too many.
        """
        busy, self._puts = puts > self._puts, puts + 1
        if busy:
            self._strikes = 0
        if busy or self._last is None or now - self._last >= _PING_SECONDS:
            self._last = now
            return
        self._strikes += 1
        if self._strikes > _PINGS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
