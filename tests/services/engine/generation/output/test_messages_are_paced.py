"""Tokens that come faster than messages may be sent share one."""

import asyncio
import math
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from sensorium.errors import Internal
from services.engine.generation.output.message_pace import MessagePace
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Delta, Event
from tests.waiting import until


def delta(token: int) -> Delta:
    return Delta("x", (token,))


def token_ids(event: Event) -> tuple[int, ...]:
    assert isinstance(event, Delta)
    return event.token_ids


async def told(stream: GenerationStream, tokens: int, seconds: float) -> list[list[int]]:
    """Returns the tokens of each delta of a stream that generates one each so often."""

    async def generate() -> None:
        for token in range(tokens):
            stream.deliver(delta(token))
            await asyncio.sleep(seconds)
        stream.cancel()

    generating = asyncio.ensure_future(generate())
    found = [list(event.token_ids) async for event in stream if isinstance(event, Delta)]
    await generating
    return found


async def test_streams_share_the_messages() -> None:
    pace = MessagePace(20)
    streams = [GenerationStream(pace=pace) for _ in range(5)]
    assert pace.gap_seconds == pytest.approx(0.25)
    begun = monotonic()
    told_of_all = await asyncio.gather(*(told(stream, 100, 0.005) for stream in streams))
    at_once, first_and_last = 20 * 0.1, 2 * 5
    assert sum(map(len, told_of_all)) <= 20 * (monotonic() - begun) + at_once + first_and_last
    for found in told_of_all:
        # The first is not held back.
        assert found[0] == [0]
        assert [token for tokens in found for token in tokens] == list(range(100))[: sum(map(len, found))]
    assert pace.open == 0


def test_only_what_all_streams_send_beyond_the_bound_is_held_back() -> None:
    pace = MessagePace(1000)
    pace.open = 16
    # Steps of 10 and of 24 ms by turns: the short ones come faster than an even pace allows, all of them do not.
    held, now = 0, 100.0
    for step in range(1000):
        now += 0.024 if step % 2 else 0.010
        held += sum(pace.sent(now) > now for _ in range(16))
    assert held == 0
    # Beyond what may leave at once, those of a stream lie as far apart as the bound has them.
    now += 1
    due = [pace.sent(now) for _ in range(200)]
    assert due == [now] * 100 + [now + 16 / 1000] * 100
    assert pace.sent(now + 0.2) == now + 0.2


async def test_slow_tokens_are_told_one_by_one() -> None:
    found = await told(GenerationStream(pace=MessagePace(10_000)), 5, 0.01)
    assert found == [[token] for token in range(5)]


async def test_what_came_too_early_leaves_with_what_comes_next() -> None:
    stream = GenerationStream()
    stream.due = math.inf
    reading = asyncio.ensure_future(anext(stream))
    for token in range(3):
        await asyncio.sleep(0)
        stream.deliver(delta(token))
    await asyncio.sleep(0)
    assert not reading.done()
    stream.due = 0.0
    stream.deliver(delta(3))
    assert list(token_ids(await reading)) == [0, 1, 2, 3]


async def test_or_by_a_timer_that_all_streams_share(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, pace, set_ = asyncio.get_running_loop(), MessagePace(1000), list[float]()
    original = loop.call_later

    def counted(delay: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        set_.append(delay)
        return original(delay, callback, *arguments)

    streams = [GenerationStream(pace=pace) for _ in range(20)]
    for stream in streams:
        stream.due = monotonic() + 0.001
    reading = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    monkeypatch.setattr(loop, "call_later", counted)
    for stream in streams:
        stream.due = math.inf
        stream.deliver(delta(0))
        stream.due = 0.0
    monkeypatch.undo()
    assert len(set_) == 1
    assert [await one for one in reading] == [delta(0)] * 20


async def test_the_end_is_not_held_back() -> None:
    pace = MessagePace(1)
    stream, *_others = (GenerationStream(pace=pace) for _ in range(1000))
    assert pace.gap_seconds == 1000
    stream.deliver(delta(0))
    await anext(stream)
    stream.deliver(delta(1))
    second = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    assert not second.done()
    stream.deliver(Internal())
    async with asyncio.timeout(30):
        assert isinstance(await second, Delta)
        with pytest.raises(Internal):
            await anext(stream)


async def test_who_leaves_while_it_waits_leaves_no_trace() -> None:
    pace = MessagePace(1)
    stream = GenerationStream(pace=pace)
    stream.deliver(delta(0))
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    stream.cancel()
    stream.cancel()
    await until(waiting.cancelled)
    assert pace.open == 0


async def test_what_is_answered_in_one_piece_takes_no_messages_and_wakes_nobody() -> None:
    pace = MessagePace(10)
    stream, whole = GenerationStream(pace=pace), GenerationStream(pace=pace, backlog_tokens=20).whole()
    assert pace.gap_seconds == pytest.approx(0.1)
    reading = asyncio.ensure_future(anext(whole))
    for token in range(9):
        whole.deliver(delta(token))
        await asyncio.sleep(0)
    assert not reading.done()
    # Not so many that it would count as slow.
    whole.deliver(delta(9))
    assert list((await reading).token_ids) == list(range(10))
    rest = asyncio.ensure_future(anext(whole))
    whole.deliver(delta(10))
    whole.cancel()
    async with asyncio.timeout(30):
        assert list((await rest).token_ids) == [10]
    assert pace.open == 1
    stream.cancel()
    assert pace.open == 0
