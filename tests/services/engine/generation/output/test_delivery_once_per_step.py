import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.engine.generation.output.delivery import Outbox
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Delta


async def test_a_step_costs_one_call_however_many_streams_move(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    calls: list[Callable[..., object]] = []
    original = loop.call_soon_threadsafe

    def counted(callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        calls.append(callback)
        return original(callback, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    outbox = Outbox()
    streams = [GenerationStream() for _ in range(20)]
    for i, stream in enumerate(streams):
        outbox.add(stream, Delta("a", (i,)))
        outbox.add(stream, Delta("b", (i,)))
    await asyncio.to_thread(outbox.send)
    await asyncio.to_thread(outbox.send)
    assert [await anext(stream) for stream in streams] == [Delta("ab", (i, i)) for i in range(20)]
    assert len(calls) == 1 + 2  # and one from each end of a to_thread


def test_each_loop_gets_its_own_and_a_closed_one_is_harmless() -> None:
    async def make() -> GenerationStream:
        return GenerationStream()

    closed, open_ = asyncio.new_event_loop(), asyncio.new_event_loop()
    outbox = Outbox()
    outbox.add(closed.run_until_complete(make()), Delta("lost", (1,)))
    stream = open_.run_until_complete(make())
    outbox.add(stream, Delta("kept", (2,)))
    closed.close()
    outbox.send()
    assert open_.run_until_complete(anext(stream)) == Delta("kept", (2,))
    open_.close()
