import asyncio
from collections.abc import Callable
from typing import Any

from sensorium.rpc.http2.heartbeat import Heartbeat


class Clock:
    """Stands for an event loop; a test sets the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        self.due = (self.now + seconds, action)
        handle: Any = self
        return handle

    def cancel(self) -> None:
        self.due = None

    def forward(self) -> float:
        """Goes on to what is due; returns when that is."""
        assert self.due is not None
        self.now, action = self.due
        self.due = None
        action()
        return self.now


def test_forty_seconds_without_a_sign_of_life_are_the_end() -> None:
    said: list[str] = []
    clock = Clock()
    loop: Any = clock
    beat = Heartbeat(loop, lambda: said.append("ping"), lambda: said.append("gone"))
    beat.greeted()
    beat.heard = 101.0  # soon behind the first look
    assert clock.forward() == 130.0
    assert said == []
    assert clock.forward() == 131.0
    assert said == ["ping"]
    beat.heard = 135.0  # the answer
    assert clock.forward() == 141.0
    assert clock.forward() == 165.0
    assert clock.forward() == 175.0
    assert said == ["ping", "ping", "gone"]


def test_who_does_not_greet_is_given_up() -> None:
    said: list[str] = []
    clock = Clock()
    loop: Any = clock
    Heartbeat(loop, lambda: said.append("ping"), lambda: said.append("gone"))
    assert clock.forward() == 120.0
    assert said == ["gone"]
