"""Answers in conversations are told as messages: whole, as streams, and where a stream goes on elsewhere.

A structured output makes the tiny model write what a trained one would.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sensorium.v1.common_pb2 import (
    FINISH_REASON_END_OF_SEQUENCE,
    FINISH_REASON_MAX_NEW_TOKENS,
    ROLE_USER,
    AssistantMessage,
    ChatMessage,
    ChatPrompt,
    DeliveredTokens,
    GenerationParameters,
    StructuredOutput,
    Tool,
)
from sensorium.v1.models_pb2 import ListModelsRequest
from sensorium.v1.text_pb2 import GenerateRequest, StreamGenerateRequest
from tests.e2e.stack import RunningStack, running_stack
from tests.tiny.language_models import write_checkpoint

TEMPLATE = """\
{%- for tool in tools or [] %}{{ tool | tojson }}{% endfor %}
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for call in m.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}
{%- endfor %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking %}<think>{% endif %}"""
THOUGHT = "It asks for 時."
SAID = "Let me look."
CALL = '<tool_call>\n{"name": "clock", "arguments": {"zone": "Œ<br>"}}\n</tool_call>'
BROKEN = '<tool_call>{"name": "clock", "arguments": {"zo</tool_call>'
TOOL = Tool(name="clock", parameters_json_schema='{"type": "object", "properties": {"zone": {"type": "string"}}}')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_checkpoint(tmp_path_factory.mktemp("parsed"), "llama", context=1024)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(folder: Path) -> Any:
    async with running_stack(folder) as stack:
        yield stack


pytestmark = pytest.mark.asyncio(loop_scope="module")


def asked(kind: Any, answer: str, *, thinking: bool = False, delivered: Any = (), **parameters: Any) -> Any:
    chat = ChatPrompt(
        messages=[ChatMessage(role=ROLE_USER, content="What time?")],
        tools=[TOOL],
        parse_response=True,
        template_variables_json={"enable_thinking": json.dumps(thinking)},
    )
    made = StructuredOutput(regex=re.escape(answer))
    chosen = GenerationParameters(structured_output=made, seed=1, **{"max_new_tokens": 400} | parameters)
    return kind(chat=chat, parameters=chosen, delivered=delivered)


async def streamed(stack: RunningStack, request: Any) -> tuple[list[tuple[list[int], AssistantMessage]], Any]:
    """Returns the tokens and the part of the message of each delta, and what the end adds to it."""
    parts: list[tuple[list[int], AssistantMessage]] = []
    async for event in stack.client.text.stream_generate(request):
        if event.HasField("delta"):
            parts.append((list(event.delta.token_ids), event.delta.message))
    return parts, event.completed.candidates[0].message


def together(parts: list[AssistantMessage]) -> AssistantMessage:
    whole = AssistantMessage()
    for part in parts:
        whole.reasoning += part.reasoning
        whole.content += part.content
        whole.tool_calls.extend(part.tool_calls)
    return whole


@pytest.mark.parametrize(
    ("answer", "thinking", "expected"),
    [
        (SAID, False, ("", SAID, [])),
        (f"{THOUGHT}\n</think>\n\n{SAID}\n{CALL}", True, (THOUGHT, SAID, [{"zone": "Œ<br>"}])),
        (f"<think>\n{THOUGHT}</think>{CALL}\n{CALL}", False, (THOUGHT, "", [{"zone": "Œ<br>"}] * 2)),
        (f"{BROKEN} 1 < 2 {CALL}", False, ("", f"{BROKEN} 1 < 2", [{"zone": "Œ<br>"}])),
    ],
)
async def test_a_message_is_the_same_whole_streamed_and_resumed(
    stack: RunningStack, answer: str, thinking: bool, expected: tuple[str, str, list[Any]]
) -> None:
    whole = (await stack.client.text.generate(asked(GenerateRequest, answer, thinking=thinking))).candidates[0]
    assert whole.text == answer
    message = whole.message
    arguments = [json.loads(call.arguments_json) for call in message.tool_calls]
    assert (message.reasoning, message.content, arguments) == expected
    assert len({call.id for call in message.tool_calls}) == len(message.tool_calls)
    request = asked(StreamGenerateRequest, answer, thinking=thinking)
    parts, rest = await streamed(stack, request)
    assert together([*(part for _, part in parts), rest]) == message
    for cut in range(1, len(parts), 5):
        held = [DeliveredTokens(token_ids=[token_id for ids, _ in parts[:cut] for token_id in ids])]
        others, rest = await streamed(stack, asked(StreamGenerateRequest, answer, thinking=thinking, delivered=held))
        assert together([*(part for _, part in parts[:cut]), *(part for _, part in others), rest]) == message


async def test_a_call_that_is_cut_is_content(stack: RunningStack) -> None:
    request = asked(GenerateRequest, SAID + CALL, max_new_tokens=40)
    cut = (await stack.client.text.generate(request)).candidates[0]
    assert cut.finish.reason == FINISH_REASON_MAX_NEW_TOKENS
    assert (cut.message.content, len(cut.message.tool_calls)) == (cut.text.rstrip(), 0)


async def test_candidates_have_messages_of_their_own(stack: RunningStack) -> None:
    chat = asked(GenerateRequest, SAID).chat
    parameters = GenerationParameters(candidate_count=3, temperature=5, seed=3, max_new_tokens=12)
    answered = await stack.client.text.generate(GenerateRequest(chat=chat, parameters=parameters))
    for candidate in answered.candidates:
        assert candidate.message.content == candidate.text.strip()
        assert candidate.finish.reason in (FINISH_REASON_MAX_NEW_TOKENS, FINISH_REASON_END_OF_SEQUENCE)
    assert len({candidate.text for candidate in answered.candidates}) > 1


async def test_nothing_is_parsed_where_nobody_asks(stack: RunningStack) -> None:
    request = asked(GenerateRequest, SAID)
    request.chat.parse_response = False
    assert not (await stack.client.text.generate(request)).candidates[0].HasField("message")


async def test_the_model_tells_its_format_and_variables(stack: RunningStack) -> None:
    (info,) = (await stack.client.models.list_models(ListModelsRequest())).models
    assert (info.response_format, list(info.template_variables)) == ("hermes", ["enable_thinking"])
