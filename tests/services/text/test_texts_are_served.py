from collections.abc import AsyncIterator
from typing import Any

import pytest

from sensorium.errors import (
    DeadlineExceeded,
    ModelNotReady,
    TaskNotSupported,
)
from sensorium.v1 import models_pb2
from sensorium.v1 import text_pb2 as pb
from services.engine.generation.requests.request import Delta, Event, GenerationTimes
from services.engine.language.texts import Truncation
from services.generation.ask import Generation
from services.served_model import ServedModel
from services.text.servicer import TextServicer
from services.text.text_to_text.ask import TextsAsk
from services.text.text_to_text.conversion import texts_ask, together
from services.text.verb_set import TextVerbs
from tests.services.generation.generations import EVENTS, generation
from tests.services.text.fakes import Context, FakeGenerator, FakeTokenizer


class FakeTexts:
    """A fake of TextSummarizer and TextTranslator, with one generation per text."""

    def __init__(self) -> None:
        self.asks: list[TextsAsk] = []
        self.answers: list[Generation] = []
        self.events: tuple[Event | Exception, ...] = EVENTS

    async def start(self, ask: TextsAsk) -> list[Generation]:
        self.asks.append(ask)
        self.answers = [generation(*self.events) for _ in ask.texts]
        return self.answers

    @property
    def cancelled(self) -> list[int]:
        return [answer.stream.cancelled for answer in self.answers]  # type: ignore[attr-defined]


@pytest.fixture
def texts(servicer: TextServicer, generator: FakeGenerator, tokenizer_verb: FakeTokenizer) -> FakeTexts:
    """The fake verb of both Summarize and Translate."""
    texts = FakeTexts()
    servicer.verbs = TextVerbs(tokenizer_verb, generator, texts, texts)
    return texts


async def test_texts_are_answered_in_order_and_their_use_is_summed(servicer: TextServicer, texts: FakeTexts) -> None:
    asked = pb.SummarizeRequest(texts=["a", "b"], instruction="", truncation=pb.TRUNCATION_START)
    response = await servicer.Summarize(asked, Context(9))
    assert [result.candidates[0].text for result in response.results] == ["aé", "aé"]
    assert (response.usage.input_token_count, response.usage.output_token_count) == (6, 8)
    assert (response.seed, response.model.revision) == (77, "r1")
    (ask,) = texts.asks
    assert (ask.texts, ask.batched, ask.instruction, ask.truncation) == (["a", "b"], True, "", Truncation.START)
    assert ask.deadline is not None
    assert texts.cancelled == [1, 1]


async def test_languages_are_asked_for_as_they_are(servicer: TextServicer, texts: FakeTexts) -> None:
    asked = pb.TranslateRequest(texts=["a"], source_language="en", target_language="fr_XX")
    assert len((await servicer.Translate(asked, Context())).results) == 1
    (ask,) = texts.asks
    assert (ask.source_language, ask.target_language, ask.instruction) == ("en", "fr_XX", None)
    assert (ask.truncation, ask.deadline) == (Truncation.NONE, None)


async def test_one_text_is_streamed_in_the_messages_of_its_rpc(servicer: TextServicer, texts: FakeTexts) -> None:
    calls: list[tuple[AsyncIterator[Any], type]] = [
        (servicer.StreamSummarize(pb.StreamSummarizeRequest(text="a"), Context()), pb.StreamSummarizeResponse),
        (servicer.StreamTranslate(pb.StreamTranslateRequest(text="a"), Context()), pb.StreamTranslateResponse),
    ]
    for stream, kind in calls:
        events = [event async for event in stream]
        assert [event.WhichOneof("event") for event in events] == ["started", "delta", "delta", "delta", "completed"]
        assert {type(event) for event in events} == {kind}
        assert texts.cancelled == [1]
    assert [(ask.texts, ask.batched) for ask in texts.asks] == [(["a"], False)] * 2


async def test_a_stream_of_a_text_that_is_left_frees_its_row(servicer: TextServicer, texts: FakeTexts) -> None:
    stream: Any = servicer.StreamSummarize(pb.StreamSummarizeRequest(text="a"), Context())
    await anext(stream)
    assert texts.cancelled == [0]
    await stream.aclose()
    assert texts.cancelled == [1]


async def test_one_text_that_fails_ends_all_of_a_batch(servicer: TextServicer, texts: FakeTexts) -> None:
    texts.events = (Delta("a", (1,)), DeadlineExceeded("The deadline passed."))
    with pytest.raises(DeadlineExceeded):
        await servicer.Translate(pb.TranslateRequest(texts=["a", "b", "c"]), Context())
    assert texts.cancelled == [1, 1, 1]


async def test_what_a_model_cannot_do_is_refused_for_it(servicer: TextServicer, served: ServedModel) -> None:
    calls = (
        lambda: servicer.Summarize(pb.SummarizeRequest(texts=["a"]), Context()),
        lambda: servicer.Translate(pb.TranslateRequest(texts=["a"]), Context()),
        lambda: anext(servicer.StreamSummarize(pb.StreamSummarizeRequest(text="a"), Context())),
        lambda: anext(servicer.StreamTranslate(pb.StreamTranslateRequest(text="a"), Context())),
    )
    for call in calls:
        with pytest.raises(TaskNotSupported, match="tiny cannot do"):
            await call()
    served.enter(models_pb2.MODEL_STATE_LOADING)
    for call in calls:
        with pytest.raises(ModelNotReady):
            await call()


def test_times_of_texts_that_came_together_are_those_of_the_whole() -> None:
    first = GenerationTimes(queue=1.0, preprocess=0.1, time_to_first_output=2.0, compute=3.0, total=6.0)
    second = GenerationTimes(queue=0.5, preprocess=0.3, time_to_first_output=2.5, compute=4.0, total=5.0)
    assert together([first, second]) == GenerationTimes(0.5, 0.3, 2.0, 4.0, 6.0)


def test_an_unknown_truncation_is_a_violation() -> None:
    asked = pb.StreamTranslateRequest(text="a", truncation=9)  # type: ignore[arg-type]
    assert [violation.field for violation in texts_ask(asked, None).violations] == ["truncation"]
