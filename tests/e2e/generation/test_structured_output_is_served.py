import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from sensorium import InvalidArgument
from sensorium.v1.common_pb2 import (
    FINISH_REASON_END_OF_SEQUENCE,
    FINISH_REASON_MAX_NEW_TOKENS,
    FINISH_REASON_STRUCTURE_COMPLETE,
    DeliveredTokens,
    GenerationParameters,
    StructuredOutput,
    TokenIds,
)
from sensorium.v1.text_pb2 import GenerateRequest
from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import Read, read, request
from tests.e2e.stack import RunningStack, running_stack
from tests.tiny.language_models import greedy
from tests.waiting import until

PROMPT = [10, 20, 30]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Oslo", "東京", "Graz"]},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 31}, "maxItems": 2},
        "note": {"type": "string", "maxLength": 4},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}  # fmt: skip
GRAMMAR = 'root ::= "(" root? ")" | [a-f]{1,3} | "é" root'
CHOICES = ["yes", "no", "maybe, but 🌊"]
FORMATS: dict[str, StructuredOutput] = {
    "json_schema": StructuredOutput(json_schema=json.dumps(SCHEMA)),
    "regex": StructuredOutput(regex="[0-9]{2,4}(-[a-z]{3}){1,2}"),
    "choice_list": StructuredOutput(choice_list=StructuredOutput.ChoiceList(choices=CHOICES)),
    "grammar": StructuredOutput(grammar=GRAMMAR),
    "json_object": StructuredOutput(json_object=True),
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(checkpoints: Checkpoints) -> AsyncIterator[RunningStack]:
    async with running_stack(checkpoints("llama")) as running:
        yield running


def check(name: str, text: str) -> None:
    """Requires that a whole text is what its format says."""
    if name == "json_schema":
        jsonschema.validate(json.loads(text), SCHEMA)
    elif name == "regex":
        assert re.fullmatch("[0-9]{2,4}(-[a-z]{3}){1,2}", text)
    elif name == "choice_list":
        assert text in CHOICES
    elif name == "json_object":
        assert isinstance(json.loads(text), dict)
    else:
        inner = text.strip("é()")
        assert re.fullmatch("[a-f]{0,3}", inner)
        assert text.count("(") == text.count(")")


def asked(name: str, **parameters: Any) -> Any:
    return request(
        PROMPT, **{"structured_output": FORMATS[name], "temperature": 3.0, "max_new_tokens": 80} | parameters
    )


async def test_every_format_is_kept_in_a_batch_with_free_text(stack: RunningStack, checkpoints: Checkpoints) -> None:
    folder = checkpoints("llama")
    free = [read(stack.client, request(PROMPT, temperature=0, max_new_tokens=60, ignore_eos=True)) for _ in range(4)]
    structured = [(name, seed) for name in FORMATS for seed in range(4)]
    results = await asyncio.gather(*free, *(read(stack.client, asked(n, seed=seed)) for n, seed in structured))
    wanted = greedy(folder, PROMPT, 60)
    assert all(result.token_ids[: len(wanted)] == wanted for result in results[:4])
    ended: set[str] = set()
    for (name, _), result in zip(structured, results[4:], strict=True):
        if result.finish.reason in (FINISH_REASON_STRUCTURE_COMPLETE, FINISH_REASON_END_OF_SEQUENCE):
            check(name, result.text)
            ended.add(name)
        else:
            assert result.finish.reason == FINISH_REASON_MAX_NEW_TOKENS
    assert ended == set(FORMATS)


async def test_the_whole_and_the_stream_tell_the_same(stack: RunningStack) -> None:
    for name in FORMATS:
        streamed = await read(stack.client, asked(name, seed=3))
        parameters = asked(name, seed=3).parameters
        whole = await stack.client.text.generate(
            GenerateRequest(prompt_token_ids=TokenIds(ids=PROMPT), parameters=parameters)
        )
        (candidate,) = whole.candidates
        assert (candidate.text, list(candidate.token_ids)) == (streamed.text, streamed.token_ids)
        assert candidate.finish == streamed.finish
        assert candidate.finish.WhichOneof("matched") in (None, "token_id")


async def resumed(stack: RunningStack, name: str, whole: Read, count: int, **parameters: Any) -> Read:
    again = asked(name, **parameters)
    again.delivered.append(DeliveredTokens(token_ids=whole.token_ids[:count]))
    return await read(stack.client, again)


@pytest.mark.parametrize("name", ["json_schema", "grammar", "regex"])
async def test_a_stream_broken_after_any_token_goes_on_exactly(name: str, stack: RunningStack) -> None:
    fields = {"seed": 11, "repetition_penalty": 1.2, "top_p": 0.95}
    whole = await read(stack.client, asked(name, **fields))
    rests = await asyncio.gather(*(resumed(stack, name, whole, i, **fields) for i in range(len(whole.token_ids) + 1)))
    assert len(whole.token_ids) > 4
    for i, rest in enumerate(rests):
        assert rest.token_ids == whole.token_ids[i:]
        assert whole.text.endswith(rest.text)
        assert rest.finish == whole.finish
        assert rest.usage.output_token_count == len(whole.token_ids)
    if whole.finish.reason != FINISH_REASON_MAX_NEW_TOKENS:
        check(name, whole.text)


async def test_delivered_tokens_that_contradict_the_structure_are_named(stack: RunningStack) -> None:
    whole = await read(stack.client, asked("regex", seed=1))
    for ids, place in (
        ([whole.token_ids[0], 100, 101], 1),
        ([2], 0),  # the end of sequence, where nothing is complete
        ([*whole.token_ids, whole.token_ids[0]], len(whole.token_ids)),
    ):
        again = asked("regex", seed=1)
        again.delivered.append(DeliveredTokens(token_ids=ids))
        with pytest.raises(InvalidArgument) as caught:
            await read(stack.client, again)
        (violation,) = caught.value.violations
        assert violation.field == f"delivered[0].token_ids[{place}]"


REFUSED: dict[str, tuple[StructuredOutput, str]] = {
    "nothing": (StructuredOutput(), ""),
    "false": (StructuredOutput(json_object=False), ".json_object"),
    "no schema": (StructuredOutput(json_schema="{"), ".json_schema"),
    "an unsupported keyword": (StructuredOutput(json_schema='{"type": "array", "uniqueItems": true}'), ".json_schema"),
    "an endless schema": (StructuredOutput(json_schema='{"type": "integer", "multipleOf": 9999991}'), ".json_schema"),
    "no expression": (StructuredOutput(regex="(a"), ".regex"),
    "an endless expression": (StructuredOutput(regex="a?" * 4096), ".regex"),
    "no choice": (StructuredOutput(choice_list=StructuredOutput.ChoiceList()), ".choice_list.choices"),
    "no grammar": (StructuredOutput(grammar="root ::= other"), ".grammar"),
    "too long": (StructuredOutput(grammar="#" * 40_000), ".grammar"),
}  # fmt: skip


async def test_what_does_not_compile_is_named_and_harms_nobody(stack: RunningStack, checkpoints: Checkpoints) -> None:
    folder = checkpoints("llama")
    beside = asyncio.create_task(
        read(stack.client, request(PROMPT, temperature=0, max_new_tokens=200, ignore_eos=True))
    )
    await until(lambda: stack.text.metric("sensorium_engine_requests_running") == 1)
    for structured, field in REFUSED.values():
        parameters = GenerationParameters(structured_output=structured, top_k=-1)
        with pytest.raises(InvalidArgument) as caught:
            await stack.client.text.generate(GenerateRequest(prompt="a", parameters=parameters))
        # Beside all else that is wrong.
        fields = [violation.field for violation in caught.value.violations]
        assert fields == [f"parameters.structured_output{field}", "parameters.top_k"]
        assert all(violation.description for violation in caught.value.violations)
    wanted = greedy(folder, PROMPT, 200)
    assert (await beside).token_ids[: len(wanted)] == wanted
    await until(lambda: stack.text.metric("sensorium_engine_requests_running") == 0)
