"""Tools and their calls, as templates of today's models read them."""

import json
from pathlib import Path

import pytest

from sensorium import InvalidArgument
from sensorium.v1.common_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    ChatMessage,
    ChatPrompt,
    GenerationParameters,
    StructuredOutput,
    Tool,
    ToolCall,
)
from sensorium.v1.text_pb2 import GenerateRequest, StreamGenerateRequest
from tests.e2e.conftest import Checkpoints
from tests.e2e.stack import running_stack
from tests.tiny.language_models import write_checkpoint

TEMPLATE = """\
{%- if tools %}<|system|>{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<end>{% endif -%}
{%- for m in messages %}<|{{ m.role if m.role != 'tool' else 'user' }}|>
{%- if m.role == 'tool' %}[{{ m.tool_call_id }}]{% endif %}{{ m.content }}
{%- for call in m.tool_calls or [] %}
<call>{{ {"name": call.function.name, "arguments": call.function.arguments} | tojson }}</call>{% endfor %}<end>
{%- endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
PARAMETERS = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
CHAT = ChatPrompt(
    messages=[
        ChatMessage(role=ROLE_SYSTEM, content="Be short."),
        ChatMessage(role=ROLE_USER, content="Time in Graz?"),
        ChatMessage(
            role=ROLE_ASSISTANT,
            tool_calls=[ToolCall(id="c1", name="clock", arguments_json='{"zone": "CET", "n": 1.5}')],
        ),
        ChatMessage(role=ROLE_TOOL, content="12:00", tool_call_id="c1"),
    ],
    tools=[
        Tool(name="clock", description="Tells time.", parameters_json_schema=json.dumps(PARAMETERS)),
        Tool(name="stop"),
    ],
)
RENDERED = (
    '<|system|>{"type": "function", "function": {"name": "clock", "description": "Tells time.", "parameters": '
    '{"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}}}\n'
    '{"type": "function", "function": {"name": "stop", "description": "", "parameters": {}}}\n<end>'
    "<|system|>Be short.<end><|user|>Time in Graz?<end>"
    '<|assistant|><call>{"name": "clock", "arguments": {"zone": "CET", "n": 1.5}}</call><end>'
    "<|user|>[c1]12:00<end><|assistant|>"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_checkpoint(tmp_path_factory.mktemp("tools"), "llama", context=1024)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


async def test_tools_calls_and_results_are_rendered_and_the_prompt_is_told(folder: Path) -> None:
    async with running_stack(folder) as stack:
        few = GenerationParameters(max_new_tokens=4)
        whole = await stack.client.text.generate(
            GenerateRequest(chat=CHAT, parameters=few, return_rendered_prompt=True)
        )
        assert whole.rendered_prompt == RENDERED
        streamed = StreamGenerateRequest(chat=CHAT, parameters=few, return_rendered_prompt=True)
        events = [event async for event in stack.client.text.stream_generate(streamed)]
        started = events[0].started
        assert started.rendered_prompt == RENDERED
        assert started.prompt_token_count == whole.usage.input_token_count
        silent = await stack.client.text.generate(GenerateRequest(chat=CHAT, parameters=few))
        assert not silent.HasField("rendered_prompt")


async def test_a_call_is_held_to_the_tools_parameters(folder: Path) -> None:
    call = {
        "type": "object",
        "properties": {"name": {"const": "clock"}, "arguments": PARAMETERS | {"additionalProperties": False}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
    call["properties"]["arguments"]["properties"] = {"zone": {"enum": ["CET", "JST"]}}  # type: ignore[index]
    parameters = GenerationParameters(
        structured_output=StructuredOutput(json_schema=json.dumps(call)), temperature=3, seed=5, max_new_tokens=150
    )
    async with running_stack(folder) as stack:
        whole = await stack.client.text.generate(GenerateRequest(chat=CHAT, parameters=parameters))
    called = json.loads(whole.candidates[0].text)
    assert called["name"] == "clock"
    assert called["arguments"]["zone"] in ("CET", "JST")


async def test_a_template_without_a_place_for_tools_refuses_them(checkpoints: Checkpoints) -> None:
    async with running_stack(checkpoints("llama")) as stack:
        with pytest.raises(InvalidArgument) as caught:
            await stack.client.text.generate(GenerateRequest(chat=CHAT))
    assert [violation.field for violation in caught.value.violations] == ["chat.tools"]
