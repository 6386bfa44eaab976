"""Utterances share the rows of one model without influencing each other."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from sensorium.errors import DeadlineExceeded, DeviceOutOfMemory, Internal, ModelNotReady, QueueFull
from services.engine.admission import Admission, QueueLimits
from services.engine.checkpoint import Checkpoint
from services.engine.device.memory import HostMemory
from services.engine.following import engine as engine_module
from services.engine.following import seats
from services.engine.following.engine import FollowingEngine
from services.engine.following.loading import load_following_model
from services.engine.following.model import FollowingModel, Written
from services.engine.following.row_cache import Room
from services.engine.following.stream import FollowingStream
from services.engine.generation.requests.request import Work
from services.engine.metrics import EngineMetrics
from tests.sounds import sound
from tests.tiny.followers import write_kyutai, write_voxtral
from tests.waiting import until

_KINDS: Any = {"kyutai_speech_to_text": write_kyutai, "voxtral_realtime": write_voxtral}


def loaded(folder: Path, kind: str, rows: int) -> FollowingModel:
    _KINDS[kind](folder)
    return load_following_model(
        Checkpoint(str(folder), torch.device("cpu")), kind, Room(1 << 30, rows, HostMemory()), 10
    )


@asynccontextmanager
async def running(model: FollowingModel, registry: CollectorRegistry | None = None) -> AsyncIterator[FollowingEngine]:
    metrics = EngineMetrics(registry or CollectorRegistry())
    engine = FollowingEngine(model, Admission(QueueLimits(1)), metrics, most_live=64)
    engine.start()
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


async def whole(engine: FollowingEngine, samples: Any) -> list[int]:
    stream = engine.follow(None, Work())
    stream.push(samples)
    stream.end()
    return await tokens(stream)


def recording(engine: FollowingEngine, samples: Any) -> FollowingStream:
    stream = engine.follow(None, Work(), recorded=True)
    stream.push(samples)
    stream.end()
    return stream


async def tokens(stream: FollowingStream) -> list[int]:
    async with asyncio.timeout(60):
        await stream.finished()
    return [written.token for written in stream.written]


@pytest.mark.parametrize("kind", _KINDS)
async def test_an_idle_utterance_loses_its_row_and_resumes_later(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(tmp_path, kind, rows=1)
    first, other = (sound(2, seed, rate=model.rate) for seed in (1, 2))
    async with running(model) as engine:
        wanted = [await whole(engine, samples) for samples in (first, other)]
        monkeypatch.setattr(seats, "IDLE_SECONDS", 0.01)
        resting = engine.follow(None, Work())
        resting.push(first[: len(first) // 2])
        await until(lambda: resting.caught_up)
        before = len(resting.written)
        assert await whole(engine, other) == wanted[1]
        resting.push(first[len(first) // 2 :])
        resting.end()
        assert await tokens(resting) == wanted[0]
    assert 0 < before < len(wanted[0])


async def test_an_utterance_slower_than_real_time_loses_its_row_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(tmp_path, "kyutai_speech_to_text", rows=1)
    samples, now = sound(1, rate=model.rate), [1000.0]
    monkeypatch.setattr(engine_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    async with running(model) as engine:
        wanted = await whole(engine, samples)
        crumbling = await _caught_up(engine, samples)
        other = engine.follow(None, Work())
        other.push(samples)
        other.end()
        for _ in range(3):
            now[0] += 3.0
            crumbling.push(samples[: model.frame])
            await until(lambda: not engine._sent)
        assert await tokens(other) == wanted


async def test_a_waiting_utterance_ends_at_its_deadline_and_a_cancelled_one_frees_its_row(tmp_path: Path) -> None:
    model = loaded(tmp_path, "kyutai_speech_to_text", rows=1)
    samples = sound(1, rate=model.rate)
    async with running(model) as engine:
        holding = engine.follow(None, Work())
        holding.push(samples)
        await until(lambda: holding.caught_up)
        with pytest.raises(DeadlineExceeded):
            late = engine.follow(time.monotonic() + 0.05, Work())
            late.push(samples)
            await tokens(late)
        holding.cancel()
        assert await whole(engine, samples)
        assert engine.live.requests == 0


async def test_live_speech_takes_the_row_of_a_recording_which_begins_anew(tmp_path: Path) -> None:
    model = loaded(tmp_path, "kyutai_speech_to_text", rows=1)
    samples, own, taken, gate = sound(1, rate=model.rate), model.step, list[Any](), threading.Semaphore(3)

    def step(tracks: Sequence[Any]) -> list[Written]:
        gate.acquire()
        taken.extend(tracks)
        return own(tracks)

    model.step = step
    async with running(model) as engine:
        first = recording(engine, samples)
        await until(lambda: len(first.written) == 3)
        second = recording(engine, samples)
        with pytest.raises(QueueFull):
            recording(engine, samples)
        live = engine.follow(None, Work())
        live.push(samples)
        live.end()
        gate.release(1000)
        assert await tokens(live) == await tokens(first) == await tokens(second)
        assert engine.admission.requests == engine.live.requests == 0
    count = len(live.written)
    rows = [list(dict.fromkeys(taken)).index(track) for track in taken]
    assert rows[: 3 + count] in ([0] * 3 + [1] * count, [0] * 4 + [1] * (count - 1))
    assert rows[-2 * count :] == [2] * count + [3] * count, "the one that was begun goes on before the other"
    (told,) = engine._metrics.generation_tokens.collect()
    assert told.samples[0].value == 3 * count, "what is written again is counted once"


async def test_waiting_counts_include_live_recorded_and_displaced_utterances(tmp_path: Path) -> None:
    model, registry = loaded(tmp_path, "kyutai_speech_to_text", rows=1), CollectorRegistry()
    samples, own, gate = sound(1, rate=model.rate), model.step, threading.Semaphore(3)

    def step(tracks: Sequence[Any]) -> list[Written]:
        gate.acquire()
        return own(tracks)

    def waiting(unit: str) -> float | None:
        return registry.get_sample_value(f"sensorium_engine_{unit}_waiting")

    model.step = step
    async with running(model, registry) as engine:
        first = recording(engine, samples)
        await until(lambda: len(first.written) == 3)
        live = [engine.follow(None, Work()) for _ in range(2)]
        for stream, count in zip(live, (1, 2), strict=True):
            for _ in range(count):
                stream.push(samples)
            stream.end()
        gate.release(2)  # ends the recording's current step, and one step of live speech in its row
        await until(lambda: (engine.admission.requests, engine.live.requests) == (1, 1))
        assert (waiting("requests"), waiting("tokens")) == (2, 50 + 100)
        gate.release(1000)
        for stream in (*live, first):
            await tokens(stream)
        assert (waiting("requests"), waiting("tokens")) == (0, 0)


@pytest.mark.parametrize(
    ("error", "told"), [(ValueError("too loud"), Internal), (torch.OutOfMemoryError("full"), DeviceOutOfMemory)]
)
async def test_a_failing_step_ends_only_the_utterance_that_fails(
    tmp_path: Path, error: Exception, told: type[Exception]
) -> None:
    model = loaded(tmp_path, "kyutai_speech_to_text", rows=2)
    samples, own, together, gate = sound(1, rate=model.rate), model.step, list[int](), threading.Event()

    def step(tracks: Sequence[Any]) -> list[Written]:
        gate.wait()
        together.append(len(tracks))
        if any(np.abs(track.sound.read(track.sound.end - 1, track.sound.end)).max() > 1 for track in tracks):
            raise error
        return own(tracks)

    model.step = step
    gate.set()
    async with running(model) as engine:
        wanted = await whole(engine, samples)
        good = await _caught_up(engine, samples)
        gate.clear()
        good.end()
        loud = engine.follow(None, Work())
        loud.push(np.full(model.rate, 2, np.float32))
        gate.set()  # from the next step on both utterances share a batch
        with pytest.raises(told):
            await tokens(loud)
        assert await tokens(good) == wanted
    assert 2 in together


@pytest.mark.parametrize("kind", _KINDS)
@torch.inference_mode()
def test_a_step_that_raises_takes_nobody_further(tmp_path: Path, kind: str) -> None:
    model: Any = loaded(tmp_path, kind, rows=2)
    samples, head, calls = sound(1, rate=model.rate), model._model.lm_head, list[int]()

    def begun(row: int) -> Any:
        track = model.track(row, [])
        track.push(samples)
        track.end()
        return track

    def written(track: Any, most: int = 1000) -> list[int]:
        return [model.step([track])[0].token for _ in range(most) if not track.done]

    def fail(*_: Any) -> None:
        calls.append(1)
        if len(calls) == (2 if kind == "voxtral_realtime" else 1):  # Voxtral prefills prompts before the shared step
            raise ValueError

    wanted = written(begun(0))
    old = begun(0)
    first, new = written(old, 5), begun(1)
    hook = head.register_forward_pre_hook(fail)
    with pytest.raises(ValueError):
        model.step([old, new])
    hook.remove()
    assert [first + written(old), written(new)] == [wanted, wanted]


@torch.inference_mode()
def test_after_a_codec_failure_an_utterance_cannot_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = loaded(tmp_path, "kyutai_speech_to_text", rows=1)
    track = model.track(0, [])
    track.push(sound(1, rate=model.rate))
    model.step([track])
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(model._model.codec_model, "encode", lambda *_, **__: 1 / 0)
        model.step([track])
    with pytest.raises(ZeroDivisionError):
        model.step([track])


async def test_an_utterance_with_nan_ends_alone_and_leaves_a_clean_row(tmp_path: Path) -> None:
    model = loaded(tmp_path, "voxtral_realtime", rows=2)
    good, other = (sound(1, seed, rate=model.rate) for seed in (1, 2))
    async with running(model) as engine:
        wanted = [await whole(engine, samples) for samples in (good, other)]
        spoiled = np.concatenate([good, np.full(model.rate, np.nan, np.float32)])
        found = await asyncio.gather(whole(engine, spoiled), whole(engine, good), return_exceptions=True)
        assert isinstance(found[0], Internal)
        again = await asyncio.gather(*(whole(engine, samples) for samples in (good, other)))
    assert [found[1], *again] == [wanted[0], *wanted]


async def test_steps_take_rows_in_their_order_so_that_those_that_adjoin_are_not_copied(tmp_path: Path) -> None:
    model = loaded(tmp_path, "kyutai_speech_to_text", rows=2)
    samples, own, seen, gate = sound(1, rate=model.rate), model.step, list[list[int]](), threading.Event()

    def step(tracks: Sequence[Any]) -> list[Written]:
        gate.wait()
        seen.append([track.row for track in tracks])
        return own(tracks)

    model.step = step
    gate.set()
    async with running(model) as engine:
        first, second = await _caught_up(engine, samples), await _caught_up(engine, samples)
        first.cancel()
        third = await _caught_up(engine, samples)  # it gets the first row, after the utterance in the second one
        gate.clear()
        second.end()
        third.end()
        gate.set()  # from the next step on both utterances share a batch
        assert await tokens(second) == await tokens(third)
    assert [0, 1] in seen
    assert [1, 0] not in seen


async def _caught_up(engine: FollowingEngine, samples: Any) -> FollowingStream:
    stream = engine.follow(None, Work())
    stream.push(samples)
    await until(lambda: stream.caught_up)
    return stream


async def test_a_failing_row_ends_the_waiting_utterance_and_a_broken_device_the_engine(tmp_path: Path) -> None:
    model = loaded(tmp_path, "kyutai_speech_to_text", rows=1)
    samples, own, failing = sound(1, rate=model.rate), model.track, list[Exception]()
    errors = [ValueError("no"), torch.AcceleratorError("CUDA error: an illegal memory access was encountered")]

    def track(row: int, written: Sequence[int]) -> Any:
        if failing:
            raise failing.pop()
        return own(row, written)

    model.track = track
    async with running(model) as engine:
        for error, told in zip(errors, (Internal, ModelNotReady), strict=True):
            failing.append(error)
            with pytest.raises(told):
                await whole(engine, samples)
            if told is Internal:
                assert await whole(engine, samples)
        assert engine.trouble(60) == "illegal_access"
        assert engine.live.requests == 0
