import threading
import time
from typing import Any

import pytest

from sensorium.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ModelNotReady,
    ModelNotServed,
    Violation,
)
from sensorium.v1 import models_pb2
from sensorium.v1 import text_pb2 as pb
from sensorium.v1.common_pb2 import ROLE_USER, ChatMessage, ChatPrompt, TokenIds
from services.engine.generation.requests.request import Delta, PromptLogprobs, TokenLogprob
from services.generation.ask import GenerationAsk
from services.served_model import ServedModel
from services.text import servicer as servicers
from services.text.request_conversion import generation_ask
from services.text.servicer import TextServicer
from tests.services.generation.generations import generation
from tests.services.text.fakes import Context, FakeGenerator, FakeTokenizer


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
