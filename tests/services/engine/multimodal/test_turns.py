import threading
import time

import pytest

from services.engine.multimodal.turns import Turns


def test_the_call_works_only_while_its_caller_waits() -> None:
    seen: list[str] = []

    def call() -> str:
        for _ in range(3):
            seen.append("call")
            turns.pause()
        return "result"

    turns = Turns(call)
    while not turns.resume(0.0):
        seen.append("caller")
    assert turns.result() == "result"
    assert seen == ["call", "caller"] * 3


def test_a_turn_lasts_about_as_long_as_it_may() -> None:
    def call() -> None:
        while not ended.is_set():
            time.sleep(0.002)
            turns.pause()

    ended = threading.Event()
    turns = Turns(call)
    began = time.monotonic()
    assert not turns.resume(0.05)  # which would not return otherwise
    assert time.monotonic() - began > 0.04
    ended.set()
    assert turns.resume(60.0)


def test_what_a_call_raises_is_raised_with_its_result() -> None:
    def call() -> None:
        raise KeyError("x")

    turns = Turns(call)
    assert turns.resume(60.0)
    with pytest.raises(KeyError):
        turns.result()


def test_an_abandoned_call_ends_where_it_stands() -> None:
    def call() -> None:
        turns.pause()
        reached.append("behind the pause")

    reached: list[str] = []
    turns = Turns(call)
    assert not turns.resume(0.0)
    turns.abandon()
    assert turns.resume(0.0)
    assert not reached


def test_others_are_not_held_up() -> None:
    turns = Turns(lambda: None)
    turns.pause()
    assert turns.resume(60.0)
