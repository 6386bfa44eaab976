"""What a device that is lost says ends everybody at once; what says less is asked about."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.errors import DeviceOutOfMemory, ModelNotReady
from services.engine.device import faults
from services.engine.device.faults import DeviceFault, require_device
from services.engine.device.memory_errors import lacks_memory
from services.engine.generation import computation
from services.engine.generation.sequence import CachedTokens, Row
from tests.services.bench import Bench, BenchMaker, eventually, fake_bench
from tests.services.engine.batching.bench import bench, items, settle
from tests.services.fake_runner import FakeRunner, continuation

LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
PROMPTS = [[10 + index, 20, 30 + index] for index in range(5)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LOST, "illegal_access"),
        (RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ..."), "launch_failure"),
        (RuntimeError("CUDA error: device-side assert triggered"), "assertion"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "memory_error"),
        (RuntimeError("Triton Error [CUDA]: misaligned address"), "illegal_access"),
        (RuntimeError("CUDA error: the launch timed out and was terminated"), "timeout"),
        (RuntimeError("CUDA error: GPU is lost"), "lost"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), None),
        (torch.AcceleratorError("CUDA error: out of memory"), None),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), None),
        (RuntimeError("CUDA error: invalid configuration argument"), None),
        (ValueError("an illegal memory access, as a caller might say it"), None),
    ],
)
def test_what_cannot_be_undone_is_told_by_its_words(error: Exception, reason: str | None) -> None:
    if reason is None:
        require_device(error)
    else:
        with pytest.raises(DeviceFault) as found:
            require_device(error)
        assert found.value.reason == reason
        assert reason in faults.REASONS


def test_a_device_that_may_be_lost_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    unclear = RuntimeError("CUDA error: invalid configuration argument")
    monkeypatch.setattr(faults, "_works", lambda: False)
    with pytest.raises(DeviceFault, match="unknown"):
        require_device(unclear)
    require_device(ValueError("no device's doing"))


async def all_lost(made: Bench, before: int = 0) -> None:
    """Asserts that every stream is told to go elsewhere, nothing is tried again, and nobody else gets in."""
    results = await asyncio.gather(*(made.run(prompt, max_new_tokens=30) for prompt in PROMPTS), return_exceptions=True)
    assert [type(result) for result in results] == [ModelNotReady] * len(PROMPTS)
    await eventually(lambda: made.engine.trouble(60) == "illegal_access")
    assert made.metric("oom_total") == 0
    with pytest.raises(ModelNotReady):
        await made.run([9])
    await eventually(lambda: made.idle)


@pytest.mark.parametrize("after", [0, 4], ids=["a prompt", "while decoding"])
async def test_a_step_on_a_lost_device_ends_all_streams(fake: BenchMaker, after: int) -> None:
    made, failed = fake(), list[int]()
    original = made.runner.run

    def run(rows: Collection[Row[CachedTokens]]) -> Tensor:
        if len(made.runner.seen) > after:
            failed.append(len(rows))
            raise LOST
        return original(rows)

    made.runner.run = run
    await all_lost(made)
    assert len(failed) == 1


async def test_whoever_was_let_in_when_the_thread_ends_is_told(fake: BenchMaker) -> None:
    made = fake()
    enter = made.engine.admission.enter

    def late(*counted: Any) -> None:
        enter(*counted)
        made.engine.close()

    made.engine.admission.enter = late
    with pytest.raises(ModelNotReady):
        await made.run([7, 8], max_new_tokens=3)
    assert made.idle


async def test_sampling_on_a_lost_device_ends_all_streams(fake: BenchMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(*_: Any) -> Any:
        raise LOST

    monkeypatch.setattr(computation, "choose", choose)
    await all_lost(fake())


def ahead(error: Exception, number: int, when: str) -> Bench:
    """Returns a bench whose launched step of that number fails, when it is launched or when it is read."""
    made = fake_bench(FakeRunner(), ahead=True)
    original, launched = made.launcher.launch, list[int]()

    def launch(rows: Any, after: Any = None) -> Any:
        launched.append(len(rows))
        step = original(rows, after)
        if len(launched) != number:
            return step
        if when == "launched":
            raise error
        object.__setattr__(step, "tokens", lambda: (_ for _ in ()).throw(error))
        return step

    made.launcher.launch = launch
    return made


@pytest.mark.parametrize("when", ["launched", "read"])
async def test_a_step_ahead_on_a_lost_device_ends_all_streams(when: str) -> None:
    made = ahead(LOST, 3, when)
    try:
        await all_lost(made)
    finally:
        made.engine.close()


@pytest.mark.parametrize("when", ["launched", "read"])
async def test_a_step_ahead_that_lacks_memory_is_counted_and_repeated(when: str) -> None:
    made = ahead(torch.OutOfMemoryError("secret"), 3, when)
    try:
        results = await asyncio.gather(*(made.run(prompt, max_new_tokens=30) for prompt in PROMPTS))
        assert [result.ids for result in results] == [continuation(prompt, 30) for prompt in PROMPTS]
        assert made.metric("oom_total") == 1
    finally:
        made.engine.close()


@pytest.mark.parametrize("fits", [2, 0])
async def test_sampling_that_lacks_memory_is_repeated_request_by_request(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    original: Callable[..., Any] = computation.choose

    def choose(rows: list[Any], logits: Tensor) -> Any:
        if len(rows) > fits:
            raise torch.OutOfMemoryError("secret")
        return original(rows, logits)

    monkeypatch.setattr(computation, "choose", choose)
    made = fake()
    results = await made.run_all(*((prompt, {"max_new_tokens": 9}) for prompt in PROMPTS), return_exceptions=True)
    assert made.metric("oom_total") > 0
    if fits:
        assert [result.ids for result in results] == [continuation(prompt, 9) for prompt in PROMPTS]
    else:
        assert [type(result) for result in results] == [DeviceOutOfMemory] * len(PROMPTS)
    await eventually(lambda: made.idle)


async def test_a_batch_on_a_lost_device_ends_all_requests() -> None:
    async with bench() as made:
        held = await made.hold()
        waiting = [made.run(items(1, LOST)), made.run(items(2))]
        await settle()
        made.runner.open.set()
        await held
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [ModelNotReady] * 2
        assert len(made.runner.batches) == 2
        assert made.batcher.trouble(60) == "illegal_access"
        with pytest.raises(ModelNotReady):
            await made.run(items(3))


async def test_a_step_that_reads_may_take_longer_than_one_that_decodes(fake: BenchMaker) -> None:
    made = fake()
    thread = made.engine._thread
    made.runner.hold()
    stream = made.submit([9], max_new_tokens=2)
    await eventually(lambda: len(made.runner.seen) == 1)
    thread.busy_since = time.monotonic() - 90
    assert not made.engine.trouble(60)
    made.runner.permit()
    await eventually(lambda: len(made.runner.seen) == 2)
    thread.busy_since = time.monotonic() - 90
    assert made.engine.trouble(60) == "hung"
    made.runner.free()
    assert [event async for event in stream]


def test_lack_of_memory_has_many_names() -> None:
    assert lacks_memory(torch.AcceleratorError("CUDA error: out of memory"))
    assert lacks_memory(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not lacks_memory(LOST)
