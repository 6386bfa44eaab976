import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from services import watchdog
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

    made = Watchdog(lambda: said[0], farewell, 0.1, leave)
    try:
        assert not gone.wait(0.1)
        said[0] = reason
        assert gone.wait(60)
        assert (told, left) == ([reason], [code])
    finally:
        made.stop()


@pytest.mark.parametrize("ends", [True, False])
def test_a_step_has_the_time_for_which_its_machine_stood_still(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """The step's limit is 0.1 s, and it is given ten times that. The clock moves by looks alone."""
    now, looks, over = [1000.0], list[float](), threading.Event()

    def trouble() -> str:
        looks.append(now[0])
        now[0] += 100.0 if len(looks) == 1 else 0.02
        if len(looks) == 200:
            over.set()
        return "hung" if len(looks) > 1 and not (ends and len(looks) > 3) else ""

    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = Watchdog(trouble, lambda _: done(), 0.1, lambda _: over.set())
    try:
        assert over.wait(180)
        if ends:
            assert len(looks) == 200
        else:
            assert 1 <= looks[-1] - looks[1] < 1.1
    finally:
        made.stop()


def test_a_farewell_that_fails_keeps_nobody() -> None:
    gone = threading.Event()

    def farewell(_: str) -> "Future[None]":
        raise RuntimeError("the loop is closed")

    made = Watchdog(lambda: "lost", farewell, 0.1, lambda _: gone.set())
    try:
        assert gone.wait(60)
    finally:
        made.stop()
