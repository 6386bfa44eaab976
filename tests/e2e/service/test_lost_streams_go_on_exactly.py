"""The rest of a stream that lost its replica is what that replica would have sent."""

import json
import threading
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sensorium import AsyncClient
from sensorium.v1 import text_pb2 as pb
from sensorium.v1.common_pb2 import ROLE_USER, ChatMessage, ChatPrompt
from services.engine.generation.computation import Computation
from tests.e2e.conftest import Checkpoints
from tests.e2e.stack import gateway_of, text_service
from tests.fakes.cable import Cable
from tests.waiting import PATIENCE

SAMPLED = {"temperature": 1.1, "top_p": 0.95, "seed": 11}
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0, "logprob_count": 2},
    "three candidates": SAMPLED | {"candidate_count": 3},
    "penalties": SAMPLED | {"repetition_penalty": 1.2, "presence_penalty": 0.5, "no_repeat_ngram_size": 4},
    "stop strings": SAMPLED | {"candidate_count": 2, "stop_strings": ["zq", "ab"]},
    "prompt lookup": {"temperature": 0.2, "seed": 3, "prompt_lookup": {}, "logprob_count": 0},
    "structure": SAMPLED | {"structured_output": {"regex": "([a-z]{1,5} ){60}end"}},
    "parsed": SAMPLED | {"structured_output": {"regex": "\\(([a-z]{1,5} ){20}\\)([a-z]{1,5} ){40}end"}},
}
FORMAT = {
    "start_anchor": "<|assistant|>",
    "fields": {"reasoning_content": {"open": "(", "close": ")"}, "content": {"close": "<end>"}},
}


STEPS = 20
"""More than it takes until a caller has read the beginning of a stream, and fewer than the whole of it takes."""


async def read(
    client: AsyncClient, request: pb.StreamGenerateRequest, cable: Cable | None = None, cut: Any = None
) -> Any:
    """Returns what each candidate came to, and the usage; cuts the cable while the stream goes on, and sets `cut`."""
    texts: defaultdict[int, str] = defaultdict(str)
    thoughts = answer = ""
    tokens: defaultdict[int, list[int]] = defaultdict(list)
    logprobs: list[float] = []
    events = starts = 0
    async for event in client.text.stream_generate(request):
        events, starts = events + 1, starts + event.HasField("started")
        texts[event.delta.candidate_index] += event.delta.text
        tokens[event.delta.candidate_index] += event.delta.token_ids
        for source in (event.delta, *event.completed.candidates):
            thoughts, answer = thoughts + source.message.reasoning, answer + source.message.content
        logprobs += [each.logprob for each in event.delta.logprobs]
        if events == 5 and cable is not None:
            await cable.cut()
            cut.set()
    assert starts == 1
    finishes = [(each.candidate_index, each.finish) for each in event.completed.candidates]
    used = (event.completed.usage.input_token_count, event.completed.usage.output_token_count)
    if answer:
        assert texts[0].startswith(f"({thoughts}") and texts[0].endswith(f"){answer}")
    return (dict(texts), dict(tokens), finishes, used, thoughts, answer), logprobs


def held_until_cut(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Lets the model make no more than the beginning of a stream until what it returns is set."""
    run, steps, cut = Computation.run, count(), threading.Event()

    def held(computation: Computation, rows: Any) -> Any:
        assert next(steps) < STEPS or cut.wait(PATIENCE)
        return run(computation, rows)

    monkeypatch.setattr(Computation, "run", held)
    return cut


@pytest.mark.parametrize("case", CASES)
async def test_nothing_tells_that_a_replica_was_lost(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    chat = ChatPrompt(messages=[ChatMessage(role=ROLE_USER, content="Once")], parse_response=True)
    prompt: dict[str, Any] = {"chat": chat} if case == "parsed" else {"prompt": "Once"}
    request = pb.StreamGenerateRequest(**prompt, parameters=CASES[case] | {"max_new_tokens": 150})
    folder, format_ = checkpoints("llama"), tmp_path / "format.json"
    format_.write_text(json.dumps(FORMAT))
    # The one with more rows is the first to be chosen.
    both = {"name": "m", "response_template": format_}
    many, few = both | {"max_sequences": 16}, both | {"max_sequences": 4}
    async with text_service(folder, **many) as lost, text_service(folder, **few) as other:
        async with AsyncClient(other.address, timeout=PATIENCE) as client:
            expected, likely = await read(client, request)
        cut = held_until_cut(monkeypatch)
        async with (
            Cable(lost.service.server.port) as cable,
            gateway_of(cable.address, other.address) as (gateway, client),
        ):
            told, told_likely = await read(client, request, cable, cut)
            assert told == expected
            assert all(told[-2:]) == (case == "parsed")
            assert told_likely == pytest.approx(likely, abs=1e-4)
            resumed = gateway.registry.get_sample_value("sensorium_gateway_stream_resumes_total", {"result": "resumed"})
            assert resumed == 1
