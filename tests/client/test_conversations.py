import json
from collections.abc import Iterator
from typing import Any

import pytest

from sensorium import AsyncClient, Client
from sensorium.v1.common_pb2 import (
    ROLE_ASSISTANT,
    AssistantMessage,
    CandidateFinish,
    ChatMessage,
    GenerationCompleted,
    GenerationDelta,
    Tool,
    ToolCall,
)
from sensorium.v1.text_pb2 import StreamGenerateResponse
from tests.client.events import STARTED, delta, says
from tests.client.fake import Fake

STREAM = "TextService/StreamGenerate"
CLOCK = Tool(name="clock", description="Tells the time.", parameters_json_schema='{"type": "object"}')
CALL = ToolCall(id="c1", name="clock", arguments_json='{"zone": "CET"}')
PARTS = [
    AssistantMessage(reasoning="They ask "),
    AssistantMessage(reasoning="the time.", content="One "),
    AssistantMessage(content="moment."),
    AssistantMessage(tool_calls=[CALL]),
]


def adding(part: AssistantMessage, index: int = 0) -> StreamGenerateResponse:
    return StreamGenerateResponse(delta=GenerationDelta(candidate_index=index, text="<raw>", message=part))


def ending(*parts: AssistantMessage) -> StreamGenerateResponse:
    candidates = [CandidateFinish(candidate_index=index, message=part) for index, part in enumerate(parts)]
    return StreamGenerateResponse(completed=GenerationCompleted(candidates=candidates))


def answer(request: Any, context: Any) -> Iterator[StreamGenerateResponse]:
    """Asks for the clock, with the call behind the last delta."""
    yield STARTED
    yield from map(adding, PARTS[:-1])
    yield delta("<tool_call>")  # no part: what may be a mark comes later
    yield adding(AssistantMessage())
    yield adding(AssistantMessage(content="another answer"), index=1)
    yield ending(PARTS[-1], AssistantMessage(content="another answer's end"))


def test_an_answer_comes_in_parts_of_a_message(fake: Fake, client: Client) -> None:
    fake.answers[STREAM] = answer
    stream = client.text.stream_message("What time is it?", tools=[CLOCK], max_new_tokens=9)
    assert next(stream) == PARTS[0]
    assert stream.message == PARTS[0]
    assert list(stream) == PARTS[1:]
    assert stream.message == AssistantMessage(reasoning="They ask the time.", content="One moment.", tool_calls=[CALL])
    assert stream.started is not None and stream.completed is not None
    request = fake.seen[0].request
    assert request.chat.parse_response and request.parameters.max_new_tokens == 9
    assert list(request.chat.tools) == [CLOCK]


async def test_and_asynchronously(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers[STREAM] = answer
    async with async_client.text.stream_message("What time is it?", system="Be brief.", tools=[CLOCK]) as stream:
        assert [part async for part in stream] == PARTS
    assert stream.message.tool_calls == [CALL]
    chat = fake.seen[0].request.chat
    assert chat.parse_response and (len(chat.messages), list(chat.tools)) == (2, [CLOCK])


def test_a_turn_keeps_its_reasoning_if_asked(fake: Fake, client: Client) -> None:
    fake.answers[STREAM] = answer
    stream = client.text.stream_message("What time is it?")
    list(stream)
    turn = ChatMessage(role=ROLE_ASSISTANT, content="One moment.", tool_calls=[CALL])
    assert stream.turn() == turn
    turn.reasoning = "They ask the time."
    assert stream.turn(reasoning=True) == turn


async def test_template_variables_are_json(fake: Fake, client: Client, async_client: AsyncClient) -> None:
    fake.answers[STREAM] = says("Hi")
    variables = {"enable_thinking": False, "documents": [{"title": "é"}], "effort": "high"}
    list(client.text.stream_chat("Hi", tools=[CLOCK], template_variables=variables))
    list(client.text.stream_message("Hi", template_variables=variables))
    assert [piece async for piece in async_client.text.stream_chat("Hi", template_variables=variables)] == ["Hi"]
    assert [part async for part in async_client.text.stream_message("Hi", template_variables=variables)] == []
    for seen in fake.seen:
        sent = seen.request.chat.template_variables_json
        assert {name: json.loads(value) for name, value in sent.items()} == variables
    assert [seen.request.chat.parse_response for seen in fake.seen] == [False, True, False, True]
    assert list(fake.seen[0].request.chat.tools) == [CLOCK]


@pytest.mark.parametrize(("value", "kind"), [({1, 2}, TypeError), (float("nan"), ValueError)])
def test_a_variable_that_is_no_json_is_named(client: Client, value: object, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="template_variables: the value of 'effort' is no JSON"):
        client.text.stream_message("Hi", template_variables={"effort": value})
