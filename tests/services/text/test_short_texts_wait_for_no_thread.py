import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.answer_conversion import embedding
from services.engine.admission import QueueLimits
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.answer import Answer, RequestTimes
from services.engine.batching.batcher import Batcher
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.batching.queue import BatchLimits
from services.engine.encoders.heads import Scoring
from services.engine.language.texts import Truncation
from services.engine.metrics import EngineMetrics
from services.engine.threads.preprocessing import AT_ONCE
from services.text.understanding.ask import ClassifyAsk, EmbedAsk, RerankAsk, TextsInput
from services.text.understanding.classify import TextClassifier
from services.text.understanding.embed import TextEmbedder
from services.text.understanding.rerank import TextReranker
from tests.services.engine.batching.bench import FakeRunner

SHORT, LONG = "a text", "ä" * 257
ANSWER = Answer([], RequestTimes(0, 0, 0, 0))


class Head:
    """The classification head of a model with this many labels."""

    def __init__(self, labels: int) -> None:
        self.labels = ["label"] * labels
        self.scoring, self.entailment = Scoring.TOGETHER, None


class Told:
    """A pipeline that records whether its last request was light."""

    light: bool

    async def run(self, _prepare: Callable[[], Any], _deadline: float | None, *, light: bool = False) -> Answer[Any]:
        self.light = light
        return ANSWER


class Reader:
    def __init__(self, *, is_fast: bool) -> None:
        self.is_fast = is_fast


def texts(*texts: str) -> TextsInput:
    return TextsInput(list(texts), Truncation.NONE, None, ())


def embed(*given: str, prompt: str | None = None) -> EmbedAsk:
    return EmbedAsk(texts(*given), None, prompt, None, None, None)


async def told(ask: Any, *, is_fast: bool = True, labels: int = 2) -> bool:
    pipeline, reader, head = Told(), Reader(is_fast=is_fast), Head(labels)
    made: Any = (pipeline, reader)
    if isinstance(ask, EmbedAsk):
        await TextEmbedder(*made, None, None, 8, 1 << 20).embed(ask)  # type: ignore[arg-type]
    elif isinstance(ask, ClassifyAsk):
        await TextClassifier(*made, head, None).classify(ask)  # type: ignore[arg-type]
    else:
        await TextReranker(*made, head, 8).rerank(ask)  # type: ignore[arg-type]
    return pipeline.light


async def test_few_short_texts_are_light() -> None:
    assert await told(embed(SHORT))
    assert await told(embed(*[SHORT] * 4, prompt=SHORT))
    assert await told(ClassifyAsk(texts(SHORT), [], None, None, None, raw_scores=False))
    assert await told(RerankAsk(texts(SHORT), SHORT, None, raw_scores=False))


async def test_what_takes_longer_than_a_thread_to_wake_is_not() -> None:
    """Long in bytes, not in characters; a slow tokenizer; zero-shot labels, each one a text; thousands of labels."""
    assert not await told(embed(LONG))
    assert not await told(embed(SHORT, prompt=LONG))
    assert not await told(embed(*[SHORT] * 5))
    assert not await told(embed(SHORT), is_fast=False)
    assert not await told(ClassifyAsk(texts(SHORT), ["a"], None, None, None, raw_scores=False))
    assert not await told(ClassifyAsk(texts(SHORT), [], None, None, None, raw_scores=False), labels=65)
    assert not await told(RerankAsk(texts(SHORT), LONG, None, raw_scores=False))


async def test_what_is_light_is_answered_while_all_threads_are_taken() -> None:
    metrics = EngineMetrics(CollectorRegistry())
    pipeline = Pipeline(Batcher(FakeRunner(), BatchLimits(), BatchAdmission(QueueLimits()), metrics))
    pipeline.start()
    free = threading.Event()
    taken = [asyncio.ensure_future(pipeline.preprocessing.run(free.wait, 60)) for _ in range(AT_ONCE)]

    def prepare() -> Prepared[Any]:
        return Prepared([Item("text")], lambda outputs: outputs)

    try:
        heavy = asyncio.ensure_future(pipeline.run(prepare, None))
        answer = await asyncio.wait_for(pipeline.run(prepare, None, light=True), 30)
        assert answer.result == [["text"]]
        assert not heavy.done()
        free.set()
        assert (await heavy).result == [["text"]]
        await asyncio.gather(*taken)
    finally:
        free.set()
        await asyncio.to_thread(pipeline.close)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1, 31), (1, 32), (3, 4096)])
def test_an_embedding_holds_the_numbers_of_the_array(shape: tuple[int, int]) -> None:
    """For sizes whose length prefix takes one, two and three bytes."""
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = embedding(values)
    assert list(found.values) == values.ravel().tolist()
    assert (found.vector_count, found.dimension_count) == shape
