import asyncio
from typing import Any

import pytest

from sensorium.errors import DeviceOutOfMemory, Internal
from services.engine.batching.queue import ItemQueue
from tests.services.engine.batching.bench import bench, items, settle


async def test_an_item_that_fails_fails_its_request_alone() -> None:
    async with bench() as made:
        held = await made.hold()
        good, bad, other = made.run(items(1, 2)), made.run(items(3, ValueError("no"))), made.run(items(4))
        await settle()
        made.runner.open.set()
        with pytest.raises(Internal) as caught:
            await bad
        assert "no" not in str(caught.value)
        assert [each.outputs for each in await asyncio.gather(held, good, other)] == [[["held"]], [[1], [2]], [[4]]]
        assert made.metric("requests_total", finish_reason="error") == 1
        assert (await made.run(items(5))).outputs == [[5]]


async def test_lack_of_memory_makes_batches_smaller() -> None:
    async with bench() as made:
        made.runner.most = 5
        held = await made.hold()
        waiting = made.run(items(*range(16)))
        await settle()
        made.runner.open.set()
        await held
        assert (await waiting).outputs == [[i] for i in range(16)]
        assert made.metric("oom_total") == 1
        made.runner.batches.clear()
        held = await made.hold()
        again = [made.run(items(*range(8))) for _ in range(3)]
        await settle()
        made.runner.open.set()
        await asyncio.gather(held, *again)
        assert max(map(len, made.runner.batches)) <= 8


async def test_an_item_too_large_for_memory_is_told_so_and_shrinks_nothing() -> None:
    async with bench() as made:
        with pytest.raises(DeviceOutOfMemory):
            await made.run(items(MemoryError()))
        held = await made.hold()
        whole = made.run(items(*range(16)))
        await settle()
        made.runner.open.set()
        await asyncio.gather(held, whole)
        assert made.runner.batches[-1] == list(range(16))


async def test_a_mistake_outside_the_model_ends_what_waits_and_not_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as made:
        held = await made.hold()
        waiting = made.run(items(1))
        await settle()

        def broken(self: ItemQueue, limits: Any) -> Any:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(ItemQueue, "take", broken)
            made.runner.open.set()
            await held
            with pytest.raises(Internal):
                await waiting
        assert (await made.run(items(2))).outputs == [[2]]
        assert not made.batcher.trouble(1)
