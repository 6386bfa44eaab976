import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from sensorium.cli import conversations
from sensorium.cli.messages import MessageText
from sensorium.cli.tables import print_result
from sensorium.cli.transcript import Transcript
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2, text_pb2
from tests.cli.conftest import Invoke
from tests.client.events import STARTED
from tests.client.fake import Fake

CALL = common.ToolCall(id="c1", name="clock", arguments_json='{"zone": "CET"}')
THOUGHT = common.AssistantMessage(reasoning="They ask the ")
SAID = common.AssistantMessage(reasoning="time.", content="One [b]moment[/b].")
CALLED = common.AssistantMessage(tool_calls=[CALL, CALL])
WHOLE = common.AssistantMessage(reasoning="They ask the time.", content="One [b]moment[/b].", tool_calls=[CALL, CALL])
READABLE = """[reasoning]
They ask the time.
[/reasoning]
One [b]moment[/b].
clock {"zone": "CET"}
clock {"zone": "CET"}
"""
SCHEMA = {"type": "object", "properties": {"zone": {"type": "string"}}}
FUNCTION = {"name": "clock", "description": "Tells the time.", "parameters": SCHEMA}
TOOL = common.Tool(name="clock", description="Tells the time.", parameters_json_schema=json.dumps(SCHEMA))
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "What time is it?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "They ask.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "CET"}'}},
            {"id": "c1", "name": "clock", "arguments": {"zone": "CET"}},
        ],
    },
    {"role": "tool", "content": "noon", "tool_call_id": "c1"},
]


def events(parts: Sequence[common.AssistantMessage], end: common.AssistantMessage, index: int = 0) -> list[Any]:
    deltas = [common.GenerationDelta(candidate_index=index, text="<raw>", message=part) for part in parts]
    finish = common.CandidateFinish(candidate_index=index, message=end)
    return [
        STARTED,
        *(text_pb2.StreamGenerateResponse(delta=delta) for delta in deltas),
        text_pb2.StreamGenerateResponse(completed=common.GenerationCompleted(candidates=[finish])),
    ]


def write(path: Path, value: object) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def test_a_conversation_is_sent_from_files(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    fake.answers["TextService/Generate"] = lambda request, context: text_pb2.GenerateResponse()
    messages, tool = write(tmp_path / "turns.json", TURNS), write(tmp_path / "clock.json", FUNCTION)
    tools = write(tmp_path / "tools.json", [{"type": "function", "function": FUNCTION}])
    variables = ["enable_thinking=false", "effort=high", 'day="1"', "dates=[1]", "none=", "odd=a=b", "number=NaN"]
    flags = [each for variable in variables for each in ("--template-variable", variable)]
    done = invoke(
        *("text", "generate", "And in words?", "--messages", messages, "--system", "Be brief."),
        *("--tool", tool, "--tool", tools, "--parse-response", *flags),
    )
    assert done.exit_code == 0, done.output
    user, system, assistant, of_tool = common.ROLE_USER, common.ROLE_SYSTEM, common.ROLE_ASSISTANT, common.ROLE_TOOL
    assert fake.seen[-1].request.chat == common.ChatPrompt(
        messages=[
            common.ChatMessage(role=system, content="Be brief."),
            common.ChatMessage(role=user, content="What time is it?"),
            common.ChatMessage(role=assistant, reasoning="They ask.", tool_calls=[CALL, CALL]),
            common.ChatMessage(role=of_tool, content="noon", tool_call_id="c1"),
            common.ChatMessage(role=user, content="And in words?"),
        ],
        tools=[TOOL, TOOL],
        parse_response=True,
        template_variables_json={
            "enable_thinking": "false", "effort": '"high"', "day": '"1"', "dates": "[1]", "none": '""',
            "odd": '"a=b"', "number": '"NaN"',
        },
    )  # fmt: skip
    assert invoke("text", "generate", "Hi", "--chat", "--tool", "-", stdin=json.dumps(FUNCTION)).exit_code == 0
    assert list(fake.seen[-1].request.chat.tools) == [TOOL]


def test_a_conversation_with_media_is_too(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    fake.answers["MultimodalService/Generate"] = lambda request, context: (
        multimodal_pb2.MultimodalServiceGenerateResponse()
    )
    (tmp_path / "cat.png").write_bytes(b"png")
    said = [
        {"type": "image", "image": str(tmp_path / "cat.png")},
        {"audio": "https://example.com/a.wav"},
        {"type": "text", "text": "What?"},
    ]
    turns = [{"role": "user", "content": said}, {**TURNS[1], "content": "A cat."}]
    messages, tool = write(tmp_path / "turns.json", turns), write(tmp_path / "clock.json", FUNCTION)
    options = ["--tool", tool, "--parse-response", "--template-variable", "enable_thinking=true"]
    done = invoke("multimodal", "generate", "When?", "--messages", messages, *options)
    assert done.exit_code == 0, done.output
    prompt = fake.seen[-1].request.prompt
    parts = prompt.messages[0].parts
    assert (parts[0].image.data, parts[1].audio.uri, parts[2].text) == (b"png", "https://example.com/a.wav", "What?")
    assert [part.text for part in prompt.messages[1].parts] == ["A cat."]
    assert list(prompt.messages[1].tool_calls) == [CALL, CALL] and prompt.messages[1].reasoning == "They ask."
    assert [part.text for part in prompt.messages[2].parts] == ["When?"]
    assert list(prompt.tools) == [TOOL] and prompt.parse_response
    assert dict(prompt.template_variables_json) == {"enable_thinking": "true"}


@pytest.mark.parametrize("options", [["--tool", "FILE"], ["--template-variable", "a=1"], ["--parse-response"]])
def test_a_text_to_continue_has_none_of_it(invoke: Invoke, tmp_path: Path, options: list[str]) -> None:
    path = write(tmp_path / "clock.json", FUNCTION)
    done = invoke("text", "generate", "Hi", *(path if option == "FILE" else option for option in options))
    assert done.exit_code == 2
    said = " ".join(done.stderr.replace("│", " ").split())
    assert f"for {options[0]}: Only a conversation has it: add --chat." in said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"description": "x"}, r"tools\[0\]: A tool needs a name"),
        ([FUNCTION, {**FUNCTION, "strict": True}], r'tools\[1\]: .* has no field named "strict"'),
        ({"type": "web_search", "name": "x"}, r'tools\[0\]: .* has no field named "type"'),
        ({"type": "function", "function": 3}, r"tools\[0\]: 3 is not a JSON object"),
    ],
)
def test_what_is_no_tool_is_told(tmp_path: Path, written: object, said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        conversations.tools(write(tmp_path / "tool.json", written))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"role": "user"}, "A list of messages is needed"),
        ([TURNS[0], "Hi"], r'messages\[1\]: "Hi" is not a JSON object'),
        ([{"role": "robot", "content": "Hi"}], r"messages\[0\]: role must be one of system, user, assistant, tool\."),
        ([{"role": ["user"], "content": "Hi"}], r"messages\[0\]: role must be"),
        ([{"role": "user", "content": 3}], r"messages\[0\]: (Failed to parse )?content"),
        ([{"role": "user", "text": "Hi"}], r'messages\[0\]: .* has no field named "text"'),
        ([{**TURNS[1], "tool_calls": ["clock"]}], r'messages\[0\]: "clock" is not a JSON object'),
    ],
)
@pytest.mark.parametrize("kind", [common.ChatMessage, multimodal_pb2.MultimodalMessage])
def test_what_is_no_list_of_messages_is_told(tmp_path: Path, written: object, said: str, kind: Any) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        conversations.messages(write(tmp_path / "turns.json", written), kind)


@pytest.mark.parametrize("part", [{"text": "a", "image": "b"}, {"type": "text"}, {"image": "/no/such.png"}, "a"])
def test_what_is_no_part_is_told(tmp_path: Path, part: object) -> None:
    path = write(tmp_path / "turns.json", [{"role": "user", "content": [part]}])
    with pytest.raises(typer.BadParameter, match=r"messages\[0\]: (A part is|/no/such\.png: No such|\"a\" is not)"):
        conversations.messages(path, multimodal_pb2.MultimodalMessage)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("enable_thinking", "such as enable_thinking=false"),
        ("=1", "such as enable_thinking=false"),
        ("enable_thinking=False", "False is not JSON, which writes true, false and null"),
        ("dates=[1", r"\[1 is not JSON"),
    ],
)
def test_what_is_no_variable_is_told(typed: str, said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        conversations.template_variable(typed)


def test_a_parsed_answer_is_shown_as_a_message(fake: Fake, invoke: Invoke) -> None:
    fake.answers["TextService/StreamGenerate"] = lambda request, context: events([THOUGHT, SAID], CALLED)
    candidates = [common.GeneratedCandidate(text="<raw>", message=WHOLE)]
    fake.answers["TextService/Generate"] = lambda request, context: text_pb2.GenerateResponse(candidates=candidates)
    streamed = invoke("text", "stream-generate", "Hi", "--chat", "--parse-response")
    whole = invoke("text", "generate", "Hi", "--chat", "--parse-response")
    assert (streamed.stdout, whole.stdout) == (READABLE, READABLE)
    # Asked for by other means, it is shown too.
    request = json.dumps({"chat": {"messages": [{"role": "ROLE_USER", "content": "Hi"}], "parseResponse": True}})
    assert invoke("text", "stream-generate", "--request", request).stdout == READABLE


def test_on_a_terminal_reasoning_is_dim_and_nothing_speaks_to_it() -> None:
    out = io.StringIO()
    transcript = Transcript(out, live=True, file=None, parsed=True)
    escaping = common.AssistantMessage(content="a\x1b[31mb", tool_calls=[common.ToolCall(name="x\x07", id="1")])
    for event in events([THOUGHT, escaping], common.AssistantMessage(reasoning="cut")):
        transcript.take(event)
    transcript.end()
    shown = "\x1b[2mThey ask the \x1b[22m\na[31mb\nx \n\x1b[2mcut\x1b[22m\n"
    assert out.getvalue() == shown
    out = io.StringIO()
    message = common.AssistantMessage(reasoning="They ask the ", content="a\x1b[31mb")
    response = text_pb2.GenerateResponse(candidates=[common.GeneratedCandidate(message=message)])
    print_result(response, Console(file=out, force_terminal=True, width=20))
    assert out.getvalue() == "\x1b[2mThey ask the \x1b[22m\na[31mb\n"


def test_messages_of_further_candidates_follow_the_first() -> None:
    out = io.StringIO()
    transcript = Transcript(out, live=False, file=None, parsed=True)
    *deltas, _ = events([SAID], CALLED, index=1)
    for event in [*deltas, *events([common.AssistantMessage(content="a")], common.AssistantMessage())[1:-1]]:
        transcript.take(event)
    transcript.end()
    assert out.getvalue() == "a\n\n[1] [reasoning]\ntime.\n[/reasoning]\nOne [b]moment[/b].\n"


def test_reasoning_that_was_cut_ends_with_its_mark() -> None:
    message = MessageText(terminal=False)
    assert message.add(THOUGHT) + message.end() == "[reasoning]\nThey ask the \n[/reasoning]\n"
