import asyncio
import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.errors import DeviceOutOfMemory, Internal, InvalidArgument, SensoriumError
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import CachedTokens
from tests.services.bench import Bench, BenchMaker, eventually, output_of, read, request
from tests.services.engine.generation.vocabularies import Undecodable
from tests.services.fake_runner import continuation

POISON = 300
GOOD = [[10, 11, 12], [20], [30, 31], [40, 41, 42, 43]]


def poisoned(sequence: CachedTokens) -> bool:
    return sequence.token_ids[0] == POISON


async def together(bench: Bench, victim: list[int], **fields: Any) -> BaseException | Any:
    """Runs good requests beside the victim, asserts that their output is exact, and returns how the victim ended."""
    asked = [*GOOD[:2], victim, *GOOD[2:]]
    results = await bench.run_all(
        *((prompt, {"max_new_tokens": 12} | (fields if prompt is victim else {})) for prompt in asked),
        return_exceptions=True,
    )
    ended = results.pop(2)
    for prompt, result in zip(GOOD, results, strict=True):
        assert not isinstance(result, BaseException), result
        assert result.ids == continuation(prompt, 12)
    await eventually(lambda: bench.idle)
    return ended


@pytest.mark.parametrize("after", [0, 1, 5], ids=["at once", "while decoding", "later"])
@pytest.mark.parametrize(
    ("raised", "error", "reason"),
    [
        (RuntimeError("secret"), Internal, "error"),
        (IndexError("secret"), Internal, "error"),
        (torch.OutOfMemoryError("secret"), DeviceOutOfMemory, "out_of_memory"),
        (MemoryError("secret"), DeviceOutOfMemory, "out_of_memory"),
    ],
    ids=["runtime error", "index error", "out of memory on the device", "out of memory"],
)
async def test_a_row_that_fails_ends_alone(
    fake: BenchMaker, raised: Exception, error: type[SensoriumError], reason: str, after: int
) -> None:
    bench = fake()

    def fail(sequence: CachedTokens) -> None:
        if poisoned(sequence) and len(sequence.token_ids) > 2 + after - 1:
            raise raised

    bench.runner.on_row = fail
    ended = await together(bench, [POISON, 9])
    assert type(ended) is error
    assert "secret" not in str(ended)
    assert bench.metric("requests_total", finish_reason=reason) == 1
    assert (bench.metric("oom_total") > 0) == (reason == "out_of_memory")


async def test_a_failure_that_passes_when_rows_run_alone_ends_nobody(fake: BenchMaker) -> None:
    bench = fake()
    original = bench.runner.run

    def crowded(rows: list[Any]) -> Tensor:
        if len(rows) > 2:
            raise ValueError("too many rows")
        return original(rows)

    bench.runner.run = crowded
    result = await together(bench, [50, 51])
    assert result.ids == continuation([50, 51], 12)
    assert bench.metric("oom_total") == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
async def test_logits_that_are_no_numbers_end_their_row_alone(
    fake: BenchMaker, bad: float, caplog: pytest.LogCaptureFixture
) -> None:
    bench = fake()

    def spoil(sequence: CachedTokens, logits: Tensor) -> None:
        if poisoned(sequence) and len(sequence.token_ids) > 4:
            logits[5] = bad

    bench.runner.on_logits = spoil
    with caplog.at_level(logging.ERROR):
        assert isinstance(await together(bench, [POISON, 9]), Internal)
    assert "not numbers" in caplog.text


async def test_text_that_cannot_be_decoded_ends_its_request_alone(fake: BenchMaker) -> None:
    bench = fake()
    asked = request([POISON], max_new_tokens=12)
    stream = bench.engine.submit(asked, output_of(asked, Undecodable()))
    good = await asyncio.gather(*(bench.run(prompt, max_new_tokens=12) for prompt in GOOD))
    assert [result.ids for result in good] == [continuation(prompt, 12) for prompt in GOOD]
    with pytest.raises(Internal):
        await read(stream)
    await eventually(lambda: bench.idle)


async def test_the_thread_survives_a_failure_of_its_own_step(fake: BenchMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = fake()
    original = Scheduler.schedule
    failures = [RuntimeError("once"), RuntimeError("twice")]

    def schedule(scheduler: Scheduler) -> Any:
        if scheduler.waiting and failures:
            raise failures.pop()
        return original(scheduler)

    monkeypatch.setattr(Scheduler, "schedule", schedule)
    for _ in range(2):
        with pytest.raises(Internal):
            await bench.run([10], max_new_tokens=3)
    assert (await bench.run([10], max_new_tokens=3)).ids == continuation([10], 3)
    assert bench.idle


async def test_an_ending_that_forbids_every_token_harms_its_own_request_only(fake: BenchMaker) -> None:
    everything = frozenset(range(320))
    ended = await together(fake(), [50], stop_token_ids=everything, min_new_tokens=2)
    assert isinstance(ended, InvalidArgument)
