import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sensorium.v1.common_pb2 import (
    ROLE_ASSISTANT,
    ROLE_TOOL,
    AssistantMessage,
    CandidateFinish,
    ChatMessage,
    GenerationCompleted,
    GenerationDelta,
    ToolCall,
)
from sensorium.v1.text_pb2 import StreamGenerateResponse
from tests.client.fake import serving

PAGE = Path(__file__).parent.parent.parent / "docs/text.md"
CALL = ToolCall(id="c1", name="weather", arguments_json='{"city": "Graz"}')


def answer(request: Any, _: object) -> Iterator[StreamGenerateResponse]:
    """Asks for the weather, and says what it was told."""
    last = request.chat.messages[-1]
    told = last.role == ROLE_TOOL
    message = AssistantMessage(content=f"Yes: {last.content}.") if told else AssistantMessage(tool_calls=[CALL])
    yield StreamGenerateResponse(delta=GenerationDelta(message=message if told else None))
    end = CandidateFinish(message=None if told else message)
    yield StreamGenerateResponse(completed=GenerationCompleted(candidates=[end]))


def test_the_loop_of_tools_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?stream_message.*?)```", PAGE.read_text(), re.DOTALL)
    with serving() as fake:
        fake.answers["TextService/StreamGenerate"] = answer
        exec(compile(program.replace("127.0.0.1:50050", fake.target), PAGE, "exec"), {})
    assert capsys.readouterr().out == "Yes: light rain in Graz."
    first, second = (seen.request.chat for seen in fake.seen)
    assert [tool.name for tool in second.tools] == ["weather"]
    assert list(second.messages) == [
        *first.messages,
        ChatMessage(role=ROLE_ASSISTANT, tool_calls=[CALL]),
        ChatMessage(role=ROLE_TOOL, content="light rain in Graz", tool_call_id="c1"),
    ]
