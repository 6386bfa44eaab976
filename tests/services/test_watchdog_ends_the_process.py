import threading
from concurrent.futures import Future

import pytest

from services.watchdog import DEVICE_FAILED, STEP_HUNG, Watchdog


def done() -> "Future[None]":
    future = Future[None]()
    future.set_result(None)
    return future


@pytest.mark.parametrize(("reason", "code"), [("illegal_access", DEVICE_FAILED), ("hung", STEP_HUNG), ("ended", 4)])
def test_calls_are_told_before_the_process_leaves(reason: str, code: int) -> None:
    said, left, gone = [""], list[int](), threading.Event()
    told: list[str] = []

    def farewell(why: str) -> "Future[None]":
        assert not left
        told.append(why)
        return done()

    def leave(with_code: int) -> None:
        left.append(with_code)
        gone.set()

    watchdog = Watchdog(lambda: said[0], farewell, 0.1, leave)
    try:
        assert not gone.wait(0.1)
        said[0] = reason
        assert gone.wait(10)
        assert (told, left) == ([reason], [code])
    finally:
        watchdog.stop()


def test_a_farewell_that_fails_keeps_nobody() -> None:
    gone = threading.Event()

    def farewell(_: str) -> "Future[None]":
        raise RuntimeError("the loop is closed")

    watchdog = Watchdog(lambda: "lost", farewell, 0.1, lambda _: gone.set())
    try:
        assert gone.wait(10)
    finally:
        watchdog.stop()
