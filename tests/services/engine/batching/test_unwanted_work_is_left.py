"""What nobody waits for any more does not keep the model from what somebody waits for."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, ResNetConfig, ViTConfig

from sensorium.errors import DeadlineExceeded
from services.engine.batching import batcher
from services.engine.batching.job import Item
from services.engine.batching.wanted import Unwanted, ask_between_layers, asking, still_wanted
from tests.services.engine.batching.bench import Bench, bench, items
from tests.waiting import until

TIRELESS = "works until it is not wanted"
_FOR_EVER = 20_000


def work(made: Bench, begun: threading.Event, enough: threading.Event) -> None:
    """Lets the runner work on batches with a TIRELESS item until nobody wants them, or there is enough, or for ever."""
    run = made.runner.run

    def running(batch: Sequence[Item]) -> Sequence[Any]:
        if any(item.inputs == TIRELESS for item in batch):
            begun.set()
            for _ in range(_FOR_EVER):
                still_wanted()
                if enough.wait(0.001):
                    break
        return run(batch)

    made.runner.run = running  # type: ignore[method-assign]


async def test_the_model_leaves_what_only_one_wanted_who_went_away() -> None:
    begun, enough = threading.Event(), threading.Event()
    async with bench() as made:
        work(made, begun, enough)
        left = made.run(items(TIRELESS, TIRELESS))
        await asyncio.to_thread(begun.wait)
        left.cancel()
        assert (await made.run(items(1))).outputs == [[1]]
        assert made.runner.batches == [[1]]
        assert made.metric("requests_total", finish_reason="cancelled") == 1


async def test_a_deadline_is_told_while_the_model_works() -> None:
    begun, enough = threading.Event(), threading.Event()
    async with bench() as made:
        work(made, begun, enough)
        with pytest.raises(DeadlineExceeded):
            await made.run(items(TIRELESS), seconds=0.2)
        assert made.runner.batches == []


async def test_layers_do_not_each_look_at_all_that_waits_but_hear_at_once_who_went_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batcher, "_LOOK_SECONDS", 3600.0)
    begun, enough = threading.Event(), threading.Event()
    looks, per_batch = list[int](), list[int]()
    async with bench() as made:
        run, receive = made.runner.run, made.batcher._receive

        def running(batch: Sequence[Item]) -> Sequence[Any]:
            before = len(looks)
            for _ in range(50):
                still_wanted()
            per_batch.append(len(looks) - before)
            return run(batch)

        def receiving() -> None:
            looks.append(1)
            receive()

        monkeypatch.setattr(made.runner, "run", running)
        monkeypatch.setattr(made.batcher, "_receive", receiving)
        await made.run(items(1))
        assert per_batch == [1]
        work(made, begun, enough)
        left = made.run(items(TIRELESS))
        await asyncio.to_thread(begun.wait)
        left.cancel()
        assert (await made.run(items(2))).outputs == [[2]]


async def test_neighbours_of_who_went_away_are_answered() -> None:
    begun, enough = threading.Event(), threading.Event()
    async with bench(wait_seconds=3600) as made:
        work(made, begun, enough)
        limit = made.batcher._limits.items
        left, other = made.run(items(TIRELESS)), made.run(items(*range(limit - 1)))
        await asyncio.to_thread(begun.wait)
        left.cancel()
        await until(lambda: made.metric("requests_total", finish_reason="cancelled") == 1)
        enough.set()
        assert (await other).outputs == [[i] for i in range(limit - 1)]


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        (ViTConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=5, num_attention_heads=2, image_size=32), 5),
        (ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[2, 3], layer_type="basic"), 2 + 5 + 10),
    ],
    ids=["layers", "stages, layers and what these are made of"],
)
def test_a_model_asks_before_each_layer(config: Any, layers: int) -> None:
    model = AutoModelForImageClassification.from_config(config).eval()
    ask_between_layers(model)
    asked: list[int] = []
    image = torch.zeros(1, 3, 32, 32)
    with torch.inference_mode(), asking(lambda: asked.append(1)):
        model(pixel_values=image)
    assert len(asked) == layers

    def refuse() -> None:
        raise Unwanted

    with pytest.raises(Unwanted), asking(refuse):
        model(pixel_values=image)
    model(pixel_values=image)
