"""Utterances share the rows of one model without influencing each other."""

import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from sensorium.errors import DeadlineExceeded, QueueFull
from services.engine.following import engine as engine_module
from services.engine.following import seats
from services.engine.following.model import Written
from services.engine.generation.requests.request import Work
from tests.services.engine.following.utterances import KINDS, caught_up, loaded, recording, running, tokens, whole
from tests.sounds import sound
from tests.waiting import until


@pytest.mark.parametrize("kind", KINDS)
async def test_an_idle_utterance_loses_its_row_and_resumes_later(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(kind, rows=1)
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


async def test_an_utterance_slower_than_real_time_loses_its_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded("kyutai_speech_to_text", rows=1)
    samples, now = sound(1, rate=model.rate), [1000.0]
    monkeypatch.setattr(engine_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    async with running(model) as engine:
        wanted = await whole(engine, samples)
        crumbling = await caught_up(engine, samples)
        other = engine.follow(None, Work())
        other.push(samples)
        other.end()
        for _ in range(3):
            now[0] += 3.0
            crumbling.push(samples[: model.frame])
            await until(lambda: not engine._sent)
        assert await tokens(other) == wanted


async def test_a_waiting_utterance_ends_at_its_deadline_and_a_cancelled_one_frees_its_row() -> None:
    model = loaded("kyutai_speech_to_text", rows=1)
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


async def test_live_speech_takes_the_row_of_a_recording_which_begins_anew() -> None:
    model = loaded("kyutai_speech_to_text", rows=1)
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


async def test_waiting_counts_include_live_recorded_and_displaced_utterances() -> None:
    model, registry = loaded("kyutai_speech_to_text", rows=1), CollectorRegistry()
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


async def test_steps_take_rows_in_their_order_so_that_those_that_adjoin_are_not_copied() -> None:
    model = loaded("kyutai_speech_to_text", rows=2)
    samples, own, seen, gate = sound(1, rate=model.rate), model.step, list[list[int]](), threading.Event()

    def step(tracks: Sequence[Any]) -> list[Written]:
        gate.wait()
        seen.append([track.row for track in tracks])
        return own(tracks)

    model.step = step
    gate.set()
    async with running(model) as engine:
        first, second = await caught_up(engine, samples), await caught_up(engine, samples)
        first.cancel()
        third = await caught_up(engine, samples)  # it gets the first row, after the utterance in the second one
        gate.clear()
        second.end()
        third.end()
        gate.set()  # from the next step on both utterances share a batch
        assert await tokens(second) == await tokens(third)
    assert [0, 1] in seen
    assert [1, 0] not in seen
