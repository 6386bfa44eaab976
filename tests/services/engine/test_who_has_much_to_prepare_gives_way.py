import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from services.engine import turns
from services.engine.admission import Admission, QueueLimits
from services.engine.preprocessing import AT_ONCE, Preprocessing
from services.engine.turns import give_way


@pytest.fixture
def preprocessing() -> Iterator[Preprocessing]:
    made = Preprocessing(Admission(QueueLimits(requests=99)))
    yield made
    made.close()


async def test_one_text_does_not_wait_for_many(preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", -1.0)
    done = threading.Event()

    def many() -> bool:
        for _ in range(2_000):
            if done.is_set():
                return True
            time.sleep(0.001)
            give_way()
        return False

    found = await asyncio.gather(*(preprocessing.run(many) for _ in range(AT_ONCE)), preprocessing.run(done.set))
    assert found == [True] * AT_ONCE + [None]


async def test_no_more_work_at_once_than_may(preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", -1.0)
    working: list[int] = []
    most = 0

    def some() -> None:
        nonlocal most
        for _ in range(50):
            working.append(1)
            most = max(most, len(working))
            time.sleep(0)
            working.pop()
            give_way()

    await asyncio.gather(*(preprocessing.run(some) for _ in range(12)))
    assert 1 <= most <= AT_ONCE


async def test_what_is_given_up_before_its_turn_is_not_done(preprocessing: Preprocessing) -> None:
    free, begun = threading.Event(), threading.Barrier(AT_ONCE + 1)

    def hold() -> None:
        begun.wait()
        free.wait()

    holding = [asyncio.ensure_future(preprocessing.run(hold)) for _ in range(AT_ONCE)]
    await asyncio.to_thread(begun.wait)
    done: list[str] = []
    late = asyncio.ensure_future(preprocessing.run(lambda: done.append("late")))
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    free.set()
    await asyncio.gather(*holding)
    await preprocessing.run(lambda: done.append("next"))
    assert done == ["next"]
