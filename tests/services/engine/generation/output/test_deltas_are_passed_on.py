"""Deltas go straight to who sends them, while the reader waits."""

import asyncio
import math
import weakref

import pytest

from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Completed, Delta, Event, Finish, FinishReason, GenerationTimes

COMPLETED = Completed((Finish(FinishReason.MAX_NEW_TOKENS),), 3, 2, GenerationTimes(0, 0, 0, 0, 0))


def delta(token: int, candidate: int = 0) -> Delta:
    return Delta("x", (token,), candidate_index=candidate)


async def waited(stream: GenerationStream) -> asyncio.Future[Event]:
    """Returns the next event of a stream of which the reader waits for it already."""
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    return reading


async def test_a_reader_who_waits_is_not_woken_for_what_was_taken() -> None:
    stream, taken = GenerationStream(backlog_tokens=5), list[Delta]()
    stream.pass_to(lambda delta: not taken.append(delta))
    reading = await waited(stream)
    for token in range(20):  # more than may wait: nothing does
        stream.deliver(delta(token, token % 2))
    await asyncio.sleep(0)
    assert taken == [delta(token, token % 2) for token in range(20)]
    assert not reading.done()
    stream.deliver(COMPLETED)
    assert await reading == COMPLETED
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_what_comes_while_the_reader_is_busy_is_read_by_it() -> None:
    stream, taken = GenerationStream(), list[Delta]()
    stream.pass_to(lambda delta: not taken.append(delta))
    stream.deliver(delta(1))
    assert await anext(stream) == delta(1)  # what came before must leave before
    reading = await waited(stream)
    stream.deliver(delta(2))
    assert (taken, reading.done()) == ([delta(2)], False)
    reading.cancel()
    stream.cancel()


@pytest.mark.parametrize("failure", [None, ValueError("cannot be written")])
async def test_what_is_not_taken_is_read(failure: Exception | None) -> None:
    offered = list[Delta]()

    def take(delta: Delta) -> bool:
        offered.append(delta)
        if failure is not None:
            raise failure
        return False

    stream = GenerationStream()
    stream.pass_to(take)
    reading = await waited(stream)
    stream.deliver(delta(1))
    stream.deliver(delta(2))
    assert len(offered) == 1
    assert await reading == Delta("xx", (1, 2))


async def test_what_is_held_back_is_passed_on_together() -> None:
    stream, taken = GenerationStream(), list[Delta]()
    stream.pass_to(lambda delta: not taken.append(delta))
    reading = await waited(stream)
    stream.due = math.inf
    stream.deliver(delta(1))
    assert taken == []
    stream.due = 0.0
    stream.deliver(delta(2))
    assert taken == [Delta("xx", (1, 2))]
    reading.cancel()
    stream.cancel()


@pytest.mark.parametrize("ended_before", [False, True])
async def test_who_takes_them_is_let_go_at_the_end(ended_before: bool) -> None:
    class Sender:
        def take(self, delta: Delta) -> bool:
            return True

    stream, sender = GenerationStream(), Sender()
    kept = weakref.ref(sender)
    if ended_before:  # before its reader had sent what comes first
        stream.deliver(COMPLETED)
    stream.pass_to(sender.take)
    if not ended_before:
        stream.deliver(COMPLETED)
    del sender
    assert kept() is None


@pytest.mark.parametrize("whole", [False, True])
async def test_a_reader_who_waits_is_not_slow_whatever_comes_at_once(whole: bool) -> None:
    stream = GenerationStream(backlog_tokens=5, outputs=2)
    reading = await waited(stream.whole() if whole else stream)
    last = [Delta("x", (1, 2, 3, 4), candidate_index=candidate) for candidate in range(2)]
    for event in (*last, COMPLETED):  # as where tokens had no text of their own until the end
        stream.deliver(event)
    assert [await reading, *[event async for event in stream]] == [*last, COMPLETED]
