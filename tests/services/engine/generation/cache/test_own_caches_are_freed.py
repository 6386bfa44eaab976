import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.errors import DeadlineExceeded, Internal
from services.engine.generation.cache.own_cache import OwnCache
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import load_language_model
from tests.services.bench import Bench, built_bench, eventually, first_delta, pass_time, read
from tests.services.engine.generation.own_generate import own_generate, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("lfm2"), "lfm2")


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    loaded = load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")
    bench = built_bench(loaded, serial=True)
    yield bench
    bench.engine.close()


def alive() -> list[OwnCache]:
    """Returns the models' own caches that are alive."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is OwnCache]


@pytest.fixture
def caches() -> Callable[[], int]:
    """Counts the models' own caches that are alive, but for those that earlier tests of this process have left."""
    earlier = weakref.WeakSet(alive())
    return lambda: sum(cache not in earlier for cache in alive())


def failing_at(bench: Bench, monkeypatch: pytest.MonkeyPatch, count: int, token: int) -> None:
    """Makes the model fail on sequences of `count` tokens that begin with `token`, half way through its layers."""
    layer = bench.runner._model.model.layers[1]
    original, advance = layer.forward, OwnCache.advance
    failing: list[bool] = [False]

    def noted(cache: OwnCache, token_ids: list[int], *others: Any) -> Any:
        failing[0] = len(token_ids) >= count and token_ids[0] == token
        return advance(cache, token_ids, *others)

    def forward(*args: Any, **kwargs: Any) -> Any:
        if failing[0]:
            raise RuntimeError("secret")
        return original(*args, **kwargs)

    monkeypatch.setattr(OwnCache, "advance", noted)
    monkeypatch.setattr(layer, "forward", forward)


async def test_whatever_ends_a_request_frees_its_cache(caches: Callable[[], int], bench: Bench) -> None:
    assert caches() == 0
    bench.engine._unread_tokens = 100_000  # however long nobody reads
    done, left = bench.submit([7, 8], max_new_tokens=5), bench.submit([9, 10], max_new_tokens=200)
    late = bench.submit([11], max_new_tokens=10_000, deadline=time.monotonic() + 3600)
    await first_delta(late)
    assert caches() > 0
    await first_delta(left)
    left.cancel()
    late.cancel()
    await read(done)
    await eventually(lambda: bench.idle)
    del done, left, late
    assert caches() == 0


async def test_a_deadline_frees_the_cache(
    caches: Callable[[], int], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.engine._unread_tokens = 100_000  # however long nobody reads
    stream = bench.submit([7, 8], max_new_tokens=100_000, deadline=time.monotonic() + 3600)
    await first_delta(stream)
    assert caches() > 0
    pass_time(monkeypatch, 3600)
    with pytest.raises(DeadlineExceeded):
        await read(stream)
    await eventually(lambda: bench.idle)
    assert caches() == 0


async def test_a_row_that_fails_in_the_middle_of_a_forward_ends_alone(
    caches: Callable[[], int], bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps what is logged, and with it the frames of the failure.
    for module in ("computation", "ledger"):
        monkeypatch.setattr(logging.getLogger(f"services.engine.generation.{module}"), "disabled", True)
    failing_at(bench, monkeypatch, count=6, token=99)
    good = [[7, 8, 9], [30, 31]]
    results = await asyncio.gather(
        *(bench.run(prompt, max_new_tokens=12) for prompt in (good[0], [99, 98], good[1])), return_exceptions=True
    )
    assert type(results[1]) is Internal
    assert "secret" not in str(results[1])
    for prompt, result in zip(good, (results[0], results[2]), strict=True):
        assert not isinstance(result, BaseException)
        assert result.ids == own_generate(folder, "lfm2", prompt, 12).ids
    await eventually(lambda: bench.idle)
    assert caches() == 0


async def test_a_failure_that_passes_is_made_up_for(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward that failed half way has changed its cache, which must not be gone on with."""
    original, failures = OwnCache.advance, [3, 7]
    both_wait = threading.Event()  # a request that is a step's only one is not tried again

    def advance(cache: OwnCache, token_ids: list[int], *others: Any) -> Any:
        both_wait.wait(30)
        logits = original(cache, token_ids, *others)
        if failures and len(token_ids) == failures[0] + 2:
            failures.pop(0)
            raise RuntimeError("once")
        return logits

    monkeypatch.setattr(OwnCache, "advance", advance)
    streams = [bench.submit(prompt, max_new_tokens=12) for prompt in ([7, 8], [40, 41])]
    both_wait.set()
    together = [await read(stream) for stream in streams]
    assert not failures
    for prompt, result in zip(([7, 8], [40, 41]), together, strict=True):
        assert result.ids == own_generate(folder, "lfm2", prompt, 12).ids
    assert bench.idle


def test_a_fork_goes_on_by_itself(bench: Bench, folder: Path) -> None:
    own = own_generate(folder, "lfm2", [7, 8, 9], 6)
    parent = CachedTokens([7, 8, 9, *own.ids[:3]], prompt_count=3)

    def step(sequence: CachedTokens, token: int) -> torch.Tensor:
        sequence.token_ids.append(token)
        (logits,) = bench.runner.run([Row(sequence, sequence.remaining)])
        sequence.computed = len(sequence.token_ids)
        return logits

    bench.runner.run([Row(parent, parent.remaining)])
    parent.computed = len(parent.token_ids)
    child = CachedTokens(list(parent.token_ids), computed=parent.computed, prompt_count=3)
    bench.runner.fork([(parent, child)])
    other = step(child, 200)
    assert torch.allclose(step(parent, own.ids[3]), own.logits[4], atol=1e-4)
    assert not torch.allclose(other, own.logits[4], atol=1e-2)
    assert torch.allclose(step(parent, own.ids[4]), own.logits[5], atol=1e-4)
