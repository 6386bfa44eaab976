"""What fails in one utterance ends that one only, and a broken device ends all of them."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.errors import DeviceOutOfMemory, Internal, ModelNotReady
from services.engine.following.model import Written
from services.engine.generation.requests.request import Work
from tests.services.engine.following.utterances import KINDS, caught_up, loaded, running, tokens, whole
from tests.sounds import sound


@pytest.mark.parametrize(
    ("error", "told"), [(ValueError("too loud"), Internal), (torch.OutOfMemoryError("full"), DeviceOutOfMemory)]
)
async def test_a_failing_step_ends_only_the_utterance_that_fails(error: Exception, told: type[Exception]) -> None:
    model = loaded("kyutai_speech_to_text", rows=2)
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
        good = await caught_up(engine, samples)
        gate.clear()
        good.end()
        loud = engine.follow(None, Work())
        loud.push(np.full(model.rate, 2, np.float32))
        gate.set()  # from the next step on both utterances share a batch
        with pytest.raises(told):
            await tokens(loud)
        assert await tokens(good) == wanted
    assert 2 in together


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_a_step_that_raises_takes_nobody_further(kind: str) -> None:
    model: Any = loaded(kind, rows=2)
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
def test_after_a_codec_failure_an_utterance_cannot_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = loaded("kyutai_speech_to_text", rows=1)
    track = model.track(0, [])
    track.push(sound(1, rate=model.rate))
    model.step([track])
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(model._model.codec_model, "encode", lambda *_, **__: 1 / 0)
        model.step([track])
    with pytest.raises(ZeroDivisionError):
        model.step([track])


async def test_an_utterance_with_nan_ends_alone_and_leaves_a_clean_row() -> None:
    model = loaded("voxtral_realtime", rows=2)
    good, other = (sound(1, seed, rate=model.rate) for seed in (1, 2))
    async with running(model) as engine:
        wanted = [await whole(engine, samples) for samples in (good, other)]
        spoiled = np.concatenate([good, np.full(model.rate, np.nan, np.float32)])
        found = await asyncio.gather(whole(engine, spoiled), whole(engine, good), return_exceptions=True)
        assert isinstance(found[0], Internal)
        again = await asyncio.gather(*(whole(engine, samples) for samples in (good, other)))
    assert [found[1], *again] == [wanted[0], *wanted]


async def test_a_failing_row_ends_the_waiting_utterance_and_a_broken_device_the_engine() -> None:
    model = loaded("kyutai_speech_to_text", rows=1)
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
