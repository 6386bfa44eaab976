import asyncio
import threading

import pytest

from tests.waiting import until, watched


async def test_what_a_test_waits_for_is_told_by_task_and_thread(capsys: pytest.CaptureFixture[str]) -> None:
    release = threading.Event()

    def work_forever() -> None:
        release.wait()

    async def innermost() -> None:
        await asyncio.Event().wait()

    async def outermost() -> None:
        await innermost()

    thread = threading.Thread(target=work_forever, name="worker")
    thread.start()
    waiting = asyncio.create_task(outermost(), name="the call")
    told = ""

    def seen() -> bool:
        nonlocal told
        told += capsys.readouterr().err
        return "Thread worker:" in told and "in work_forever" in told

    try:
        async with watched(0.01):
            await until(seen)
    finally:
        release.set()
        thread.join()
        waiting.cancel()
    call = told[told.index("the call:") :]
    assert call.index("outermost") < call.index("innermost") < call.index("Event.wait") < call.index("Future")


async def test_nothing_is_told_of_what_does_not_take_long(capsys: pytest.CaptureFixture[str]) -> None:
    async with watched():
        await asyncio.sleep(0)
    assert capsys.readouterr().err == ""


async def test_what_never_comes_ends_the_wait() -> None:
    with pytest.raises(TimeoutError):
        await until(lambda: False, 0.01)
