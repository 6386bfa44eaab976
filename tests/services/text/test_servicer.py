import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import pytest

from sensorium.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ModelNotReady,
    ModelNotServed,
    TaskNotSupported,
    Violation,
)
from sensorium.v1 import models_pb2
from sensorium.v1 import text_pb2 as pb
from sensorium.v1.common_pb2 import ROLE_USER, ChatMessage, ChatPrompt, TokenIds
from services.engine.generation.requests.request import Delta, Event, GenerationTimes, PromptLogprobs, TokenLogprob
from services.engine.language.texts import EncodedText, Truncation
from services.generation.ask import Generation, GenerationAsk
from services.served_model import ServedModel
from services.text import servicer as servicers
from services.text.request_conversion import generation_ask
from services.text.servicer import TextServicer
from services.text.text_to_text.ask import TextsAsk
from services.text.text_to_text.conversion import texts_ask, together
from services.text.verb_set import TextVerbs
from tests.services.generation.generations import EVENTS, generation

T = TypeVar("T")


class Context:
    """The part of a gRPC context that a servicer uses."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds

    def time_remaining(self) -> float | None:
        return self._seconds


class FakeGenerator:
    def __init__(self) -> None:
        self.asks: list[GenerationAsk] = []
        self.answer: Generation | Exception = generation()

    async def start(self, ask: GenerationAsk) -> Generation:
        self.asks.append(ask)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def start_all(self, make: Callable[[], list[GenerationAsk]], _structured: object) -> list[Generation]:
        return [await self.start(ask) for ask in await asyncio.to_thread(make)]

    @property
    def cancelled(self) -> int:
        assert isinstance(self.answer, Generation)
        return self.answer.stream.cancelled  # type: ignore[attr-defined]


class FakeTokenizer:
    def __init__(self) -> None:
        self.options: list[bool] = []

    async def tokenize(
        self, texts: list[str], convert: Callable[[EncodedText], T], *, add_special_tokens: bool
    ) -> list[T]:
        self.options.append(add_special_tokens)
        return [
            convert(EncodedText(range(n := len(text)), text, [(i, i + 1) for i in range(n)], frozenset()))
            for text in texts
        ]

    async def detokenize(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        self.options.append(skip_special_tokens)
        return ["".join(map(chr, ids)) for ids in sequences]


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
def served() -> ServedModel:
    served = ServedModel("tiny")
    served.info.identity.revision = "r1"
    served.enter(models_pb2.MODEL_STATE_READY)
    return served


@pytest.fixture
def generator() -> FakeGenerator:
    return FakeGenerator()


@pytest.fixture
def tokenizer_verb() -> FakeTokenizer:
    return FakeTokenizer()


@pytest.fixture
def servicer(served: ServedModel, generator: FakeGenerator, tokenizer_verb: FakeTokenizer) -> TextServicer:
    servicer = TextServicer(served)
    servicer.verbs = TextVerbs(tokenizer_verb, generator)
    return servicer


async def test_a_stream_starts_moves_and_completes(servicer: TextServicer, generator: FakeGenerator) -> None:
    request = pb.StreamGenerateRequest(model="tiny", prompt="x")
    events = [event async for event in servicer.StreamGenerate(request, Context(9))]
    assert [event.WhichOneof("event") for event in events] == ["started", "delta", "delta", "delta", "completed"]
    assert (events[0].started.model.name, events[0].started.model.revision) == ("tiny", "r1")
    assert generator.asks[0].prompt == "x"
    assert generator.asks[0].deadline is not None
    assert generator.cancelled == 1


async def test_a_conversation_is_converted_in_a_thread(
    servicer: TextServicer, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its JSON may take seconds, in which no other call would be answered."""
    threads: list[threading.Thread] = []

    def converted(*given: Any) -> GenerationAsk:
        threads.append(threading.current_thread())
        return generation_ask(*given)

    monkeypatch.setattr(servicers, "generation_ask", converted)
    chat = ChatPrompt(messages=[ChatMessage(role=ROLE_USER, content="x")])
    assert (await servicer.Generate(pb.GenerateRequest(chat=chat), Context(9))).candidates
    assert threads[0] is not threading.main_thread()
    assert 0 < (generator.asks[0].deadline or 0) - time.monotonic() <= 9


async def test_a_whole_answer_has_everything(servicer: TextServicer, generator: FakeGenerator) -> None:
    response = await servicer.Generate(pb.GenerateRequest(prompt="x"), Context())
    assert response.candidates[0].text == "aé"
    assert response.model.revision == "r1"
    assert generator.asks[0].deadline is None
    assert generator.cancelled == 1


async def test_leaving_a_stream_early_frees_its_row(servicer: TextServicer, generator: FakeGenerator) -> None:
    stream: Any = servicer.StreamGenerate(pb.StreamGenerateRequest(prompt="x"), Context())
    await anext(stream)
    await anext(stream)
    assert generator.cancelled == 0
    await stream.aclose()
    assert generator.cancelled == 1


async def test_an_error_in_mid_stream_follows_the_deltas_before_it(
    servicer: TextServicer, generator: FakeGenerator
) -> None:
    generator.answer = generation(Delta("a", (1,)), DeadlineExceeded("The deadline passed."))
    seen: list[str | None] = []
    with pytest.raises(DeadlineExceeded):
        async for event in servicer.StreamGenerate(pb.StreamGenerateRequest(prompt="x"), Context()):
            seen.append(event.WhichOneof("event"))
    assert seen == ["started", "delta"]
    assert generator.cancelled == 1
    with pytest.raises(DeadlineExceeded):
        await servicer.Generate(pb.GenerateRequest(prompt="x"), Context())


async def test_a_refused_request_starts_no_stream(servicer: TextServicer, generator: FakeGenerator) -> None:
    generator.answer = InvalidArgument([Violation("prompt", "is wrong")])
    with pytest.raises(InvalidArgument):
        await anext(servicer.StreamGenerate(pb.StreamGenerateRequest(prompt="x"), Context()))


async def test_another_model_or_one_that_is_not_ready_is_refused(servicer: TextServicer, served: ServedModel) -> None:
    calls = (
        lambda model: servicer.Generate(pb.GenerateRequest(model=model, prompt="x"), Context()),
        lambda model: anext(servicer.StreamGenerate(pb.StreamGenerateRequest(model=model, prompt="x"), Context())),
        lambda model: servicer.Tokenize(pb.TokenizeRequest(model=model, texts=["x"]), Context()),
        lambda model: servicer.Detokenize(pb.DetokenizeRequest(model=model), Context()),
    )
    for call in calls:
        with pytest.raises(ModelNotServed):
            await call("other")
    served.enter(models_pb2.MODEL_STATE_DRAINING)
    for call in calls:
        with pytest.raises(ModelNotReady):
            await call("tiny")


async def test_special_tokens_are_added_unless_declined(servicer: TextServicer, tokenizer_verb: FakeTokenizer) -> None:
    response = await servicer.Tokenize(pb.TokenizeRequest(texts=["ab", "c"]), Context())
    assert [[token.piece for token in result.tokens] for result in response.results] == [["a", "b"], ["c"]]
    assert response.usage.input_token_count == 3
    assert response.model.name == "tiny"
    assert response.HasField("timing")
    await servicer.Tokenize(pb.TokenizeRequest(texts=["a"], add_special_tokens=False), Context())
    assert tokenizer_verb.options == [True, False]


async def test_special_tokens_are_decoded_unless_declined(
    servicer: TextServicer, tokenizer_verb: FakeTokenizer
) -> None:
    sequences = [TokenIds(ids=[97, 98]), TokenIds()]
    response = await servicer.Detokenize(pb.DetokenizeRequest(sequences=sequences), Context())
    assert list(response.texts) == ["ab", ""]
    assert response.usage.input_token_count == 2
    await servicer.Detokenize(pb.DetokenizeRequest(sequences=sequences, skip_special_tokens=True), Context())
    assert tokenizer_verb.options == [False, True]


async def test_a_stream_starts_when_its_prompts_log_probabilities_are_there(
    servicer: TextServicer, generator: FakeGenerator
) -> None:
    told = PromptLogprobs((TokenLogprob(4, None, 0, ()),))
    generator.answer = generation(told, Delta("a", (1,)))
    events = [event async for event in servicer.StreamGenerate(pb.StreamGenerateRequest(prompt="x"), Context())]
    assert [event.WhichOneof("event") for event in events] == ["started", "delta"]
    assert events[0].started.prompt_logprobs[0].token_id == 4
    generator.answer = generation(DeadlineExceeded("The deadline passed."), told)
    with pytest.raises(DeadlineExceeded):
        await anext(servicer.StreamGenerate(pb.StreamGenerateRequest(prompt="x"), Context()))
    assert generator.cancelled == 1


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
