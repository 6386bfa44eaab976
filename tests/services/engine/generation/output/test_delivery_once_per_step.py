import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sensorium.errors import Internal
from services.engine.generation.group import SequenceGroup
from services.engine.generation.output.delivery import Outbox
from services.engine.generation.output.detokenizer import Decoder
from services.engine.generation.output.message_pace import MessagePace
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Completed, Delta, Finish, FinishReason, GenerationTimes
from tests.services.bench import output_of, request

COMPLETED = Completed((Finish(FinishReason.MAX_NEW_TOKENS),), 3, 2, GenerationTimes(0, 0, 0, 0, 0))


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


def held(outbox: Outbox, stream: GenerationStream, decoder: Decoder | None = None) -> OutputBuilder:
    """Returns an output that has something new, which the outbox holds."""
    asked = request([5], max_new_tokens=200)
    output = output_of(asked, decoder)
    output.push(20)
    outbox.hold(SequenceGroup(asked, (output,), stream, 0.0), output)
    return output


async def test_what_may_not_be_read_yet_is_taken_with_what_comes_behind_it() -> None:
    pace = MessagePace(1)
    outbox, stream, whole = Outbox(), GenerationStream(pace=pace), GenerationStream().whole()
    pace.open = 3600  # streams, so that an hour lies between two messages of each
    output, unread = held(outbox, stream), held(outbox, whole)
    assert outbox.collect(soon=True) == []
    outbox.send()
    first = await anext(stream)
    assert isinstance(first, Delta)
    assert (first.token_ids, unread.waiting) == ((20,), 1)  # the first is not held back, where it is sent at all
    output.push(21)
    outbox.hold(SequenceGroup(request([5]), (output,), stream, 0.0), output)
    outbox.collect(soon=True)
    assert output.waiting == 1
    for _ in range(63):
        output.push(22)
    outbox.collect(soon=True)
    assert output.waiting == 0  # there are bounds to what is held
    output.push(23)
    outbox.hold(SequenceGroup(request([5]), (output,), stream, 0.0), output)
    outbox.collect(soon=False)  # nobody will come by
    assert output.waiting == unread.waiting == 0
    output.push(24)
    outbox.hold(SequenceGroup(request([5]), (output,), stream, 0.0), output)
    outbox.add(stream, Internal())
    outbox.send()
    second = await anext(stream)
    assert isinstance(second, Delta)
    assert second.token_ids == (21, *[22] * 63, 23, 24)
    with pytest.raises(Internal):
        await anext(stream)


async def test_an_output_that_cannot_be_taken_fails_alone() -> None:
    class Broken:
        def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
            if 20 in ids:
                raise ValueError("no such token")
            return ""

    outbox, stream, beside = Outbox(), GenerationStream(), GenerationStream()
    held(outbox, stream, Broken())
    held(outbox, beside)
    ((group, error),) = outbox.collect(soon=False)
    assert group.stream is stream
    assert isinstance(error, ValueError)
    held(outbox, stream, Broken())
    with pytest.raises(ValueError, match="no such"):
        outbox.add(stream, COMPLETED)
    held(outbox, stream, Broken())
    outbox.add(stream, Internal())
    outbox.send()
    assert isinstance(await anext(beside), Delta)
    with pytest.raises(Internal):
        await anext(stream)


@pytest.mark.parametrize(("backlog", "count"), [(6, 1), (24, 3), (1024, 1), (1024, 40)])
async def test_who_reads_whole_and_keeps_up_is_not_taken_for_slow(backlog: int, count: int) -> None:
    stream = GenerationStream(backlog_tokens=backlog, outputs=count).whole()
    asked = request([5], max_new_tokens=1000)
    outputs = tuple(output_of(asked, candidate=i) for i in range(count))
    outbox, group = Outbox(), SequenceGroup(asked, outputs, stream, 0.0)

    async def taken() -> int:
        return sum([len(event.token_ids) async for event in stream if isinstance(event, Delta)])

    reading = asyncio.ensure_future(taken())
    for _ in range(200):
        for output in outputs:
            output.push(20)
            outbox.hold(group, output)
        assert outbox.collect(soon=True) == []
        outbox.send()
        for _ in range(4):
            await asyncio.sleep(0)
    outbox.add(stream, COMPLETED)
    outbox.send()
    assert await reading == 200 * count
