"""Engines that follow speech with tiny models, and utterances for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from prometheus_client import CollectorRegistry

from services.engine.admission import Admission, QueueLimits
from services.engine.checkpoint import Checkpoint
from services.engine.device.memory import HostMemory
from services.engine.following.engine import FollowingEngine
from services.engine.following.kyutai import KyutaiModel
from services.engine.following.loading import load_following_model
from services.engine.following.model import FollowingModel
from services.engine.following.row_cache import Room
from services.engine.following.stream import FollowingStream
from services.engine.following.voxtral import VoxtralModel
from services.engine.generation.requests.request import Work
from services.engine.metrics import EngineMetrics
from tests.tiny.followers import write_kyutai, write_voxtral
from tests.waiting import until

KINDS: Any = {"kyutai_speech_to_text": write_kyutai, "voxtral_realtime": write_voxtral}


def loaded(kind: str, rows: int) -> FollowingModel:
    """Returns a model whose weights are those of all others of its kind: what a test changes of these, it puts back."""
    own: Any = _read(kind)
    room = Room(1 << 30, rows, HostMemory())
    if isinstance(own, VoxtralModel):
        return VoxtralModel(own.loaded, own.prompt, room, 10)
    return KyutaiModel(own.loaded, room, 10)


@cache
def _read(kind: str) -> FollowingModel:
    with TemporaryDirectory() as folder:
        KINDS[kind](Path(folder))
        return load_following_model(Checkpoint(folder, torch.device("cpu")), kind, Room(1 << 30, 2, HostMemory()), 10)


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
    async with asyncio.timeout(180):
        await stream.finished()
    return [written.token for written in stream.written]


async def caught_up(engine: FollowingEngine, samples: Any) -> FollowingStream:
    stream = engine.follow(None, Work())
    stream.push(samples)
    await until(lambda: stream.caught_up)
    return stream
