"""Utterances share the rows of one model, and what one does is nothing to another."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from sensorium.errors import DeadlineExceeded, Internal
from services.engine.admission import Admission, QueueLimits
from services.engine.checkpoint import Checkpoint
from services.engine.device.memory import HostMemory
from services.engine.following import engine as engine_module
from services.engine.following.engine import FollowingEngine
from services.engine.following.loading import load_following_model
from services.engine.following.model import FollowingModel, Written
from services.engine.following.row_cache import Room
from services.engine.following.stream import FollowingStream
from services.engine.generation.requests.request import Work
from services.engine.metrics import EngineMetrics
from tests.sounds import sound
from tests.tiny_followers import write_kyutai, write_voxtral
from tests.waiting import until

_KINDS: Any = {"kyutai_speech_to_text": write_kyutai, "voxtral_realtime": write_voxtral}


def loaded(folder: Path, kind: str, rows: int) -> FollowingModel:
    _KINDS[kind](folder)
    return load_following_model(
        Checkpoint(str(folder), torch.device("cpu")), kind, Room(1 << 30, rows, HostMemory()), 10
    )


@asynccontextmanager
async def running(model: FollowingModel) -> AsyncIterator[FollowingEngine]:
    engine = FollowingEngine(model, Admission(QueueLimits(64)), EngineMetrics(CollectorRegistry()))
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


async def tokens(stream: FollowingStream) -> list[int]:
    async with asyncio.timeout(60):
        await stream.finished()
    return [written.token for written in stream.written]


@pytest.mark.parametrize("kind", _KINDS)
async def test_one_that_is_not_sent_on_gives_up_its_row_and_goes_on_later(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(tmp_path, kind, rows=1)
    first, other = (sound(2, seed, rate=model.rate) for seed in (1, 2))
    async with running(model) as engine:
        wanted = [await whole(engine, samples) for samples in (first, other)]
        monkeypatch.setattr(engine_module, "_IDLE_SECONDS", 0.01)
        resting = engine.follow(None, Work())
        resting.push(first[: len(first) // 2])
        await until(lambda: resting.caught_up)
        before = len(resting.written)
        assert await whole(engine, other) == wanted[1]
        resting.push(first[len(first) // 2 :])
        resting.end()
        assert await tokens(resting) == wanted[0]
    assert 0 < before < len(wanted[0])


async def test_one_that_waits_ends_at_its_deadline_and_one_that_leaves_makes_room(tmp_path: Path) -> None:
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
        assert engine.admission.requests == 0


async def test_a_step_that_fails_ends_those_in_it_and_no_others(tmp_path: Path) -> None:
    model = loaded(tmp_path, "kyutai_speech_to_text", rows=2)
    samples, own = sound(1, rate=model.rate), model.step

    def step(tracks: Sequence[Any]) -> list[Written]:
        if any(np.abs(track.sound.read(track.sound.end - 1, track.sound.end)).max() > 1 for track in tracks):
            raise ValueError("too loud")
        return own(tracks)

    model.step = step
    async with running(model) as engine:
        good = engine.follow(None, Work())
        good.push(samples)
        await until(lambda: good.caught_up)
        with pytest.raises(Internal):
            await whole(engine, np.full(model.rate, 2, np.float32))
        good.end()
        assert await tokens(good)
