import asyncio

import pytest

from sensorium.errors import Internal, SlowConsumer
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import (
    Completed,
    Delta,
    Finish,
    FinishReason,
    GenerationTimes,
    PromptLogprobs,
    TokenLogprob,
)

COMPLETED = Completed((Finish(FinishReason.MAX_NEW_TOKENS),), 3, 2, GenerationTimes(0, 0, 0, 0, 0))


async def test_deltas_that_wait_are_merged_and_those_read_are_not() -> None:
    stream = GenerationStream()
    stream.deliver(Delta("a", (1,)))
    assert await anext(stream) == Delta("a", (1,))
    stream.deliver(Delta("b", (2,)))
    stream.deliver(Delta("c", (3, 4)))
    stream.deliver(COMPLETED)
    assert [event async for event in stream] == [Delta("bc", (2, 3, 4)), COMPLETED]


async def test_candidates_are_merged_each_by_itself_and_whoever_waits_longest_comes_first() -> None:
    stream = GenerationStream()
    for text, candidate in (("a", 1), ("b", 0), ("c", 1), ("d", 2), ("e", 0)):
        stream.deliver(Delta(text, (ord(text),), candidate_index=candidate))
    assert await anext(stream) == Delta("ac", (97, 99), candidate_index=1)
    stream.deliver(Delta("f", (102,), candidate_index=1))
    stream.deliver(COMPLETED)
    assert [event async for event in stream] == [
        Delta("be", (98, 101), candidate_index=0),
        Delta("d", (100,), candidate_index=2),
        Delta("f", (102,), candidate_index=1),
        COMPLETED,
    ]


async def test_all_candidates_count_towards_one_backlog() -> None:
    stream = GenerationStream(backlog_tokens=4)
    for candidate in range(5):
        stream.deliver(Delta("x", (1,), candidate_index=candidate))
    with pytest.raises(SlowConsumer):
        await anext(stream)


async def test_the_prompts_log_probabilities_are_an_event_that_ends_nothing() -> None:
    stream = GenerationStream(backlog_tokens=1)
    told = PromptLogprobs((TokenLogprob(5, None, 0, ()), TokenLogprob(6, -1.0, 1, ())))
    for event in (told, Delta("x", (1,)), COMPLETED):
        stream.deliver(event)
    assert [event async for event in stream] == [told, Delta("x", (1,)), COMPLETED]


async def test_a_reader_that_waits_gets_each_event_as_it_comes() -> None:
    stream = GenerationStream()
    reader = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    stream.deliver(Delta("a", (1,)))
    assert await reader == Delta("a", (1,))


async def test_a_reader_too_slow_ends_with_an_error_and_frees_its_row() -> None:
    stream = GenerationStream(backlog_tokens=10)
    cancelled: list[bool] = []
    stream.on_cancel(lambda: cancelled.append(True))
    for i in range(10):
        stream.deliver(Delta("x", (i,)))
    assert not cancelled
    stream.deliver(Delta("x", (10,)))
    assert cancelled == [True]
    with pytest.raises(SlowConsumer):
        await anext(stream)
    stream.deliver(Delta("x", (11,)))
    stream.deliver(COMPLETED)
    with pytest.raises(SlowConsumer):
        await anext(stream)


async def test_a_reader_that_keeps_up_may_read_any_number() -> None:
    stream = GenerationStream(backlog_tokens=10)
    for i in range(100):
        stream.deliver(Delta("x", (i, i)))
        assert await anext(stream) == Delta("x", (i, i))


async def test_an_error_comes_after_the_events_before_it_and_stays() -> None:
    stream = GenerationStream()
    stream.deliver(Delta("a", (1,)))
    stream.deliver(Internal())
    stream.deliver(Delta("b", (2,)))
    assert await anext(stream) == Delta("a", (1,))
    for _ in range(2):
        with pytest.raises(Internal):
            await anext(stream)


async def test_nothing_follows_the_end() -> None:
    stream = GenerationStream()
    stream.deliver(COMPLETED)
    stream.deliver(Delta("late", (1,)))
    stream.deliver(Internal())
    assert [event async for event in stream] == [COMPLETED]


async def test_cancelling_again_or_after_the_end_is_harmless() -> None:
    stream = GenerationStream()
    cancelled: list[bool] = []
    stream.on_cancel(lambda: cancelled.append(True))
    stream.deliver(COMPLETED)
    stream.cancel()
    stream.cancel()
    stream.deliver(Delta("late", (1,)))
    assert cancelled
    assert [event async for event in stream] == [COMPLETED]


async def test_cancelling_lets_a_waiting_reader_go() -> None:
    stream = GenerationStream()
    reader = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0)
    stream.cancel()
    assert await asyncio.wait_for(reader, 10) is None
