import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForCausalLM

from sensorium import InvalidArgument
from sensorium.v1.common_pb2 import (
    BeamSearchParameters,
    DeliveredTokens,
    FinishReason,
    GenerationParameters,
    TokenIds,
)
from sensorium.v1.text_pb2 import GenerateRequest
from tests.drawn import drawn
from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import read, request
from tests.e2e.stack import RunningStack, running_stack
from tests.own_models import own
from tests.tiny.language_models import END_ID, tokenizer, write_checkpoint
from tests.waiting import until

PROMPT = [9, 33, 120, *range(60, 90)]
SAMPLED: dict[str, Any] = {"temperature": 1.2, "top_p": 0.95, "seed": 7, "max_new_tokens": 20}
EARLY = {
    BeamSearchParameters.EARLY_STOPPING_FIRST: True,
    BeamSearchParameters.EARLY_STOPPING_LIKELY: False,
    BeamSearchParameters.EARLY_STOPPING_NEVER: "never",
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(checkpoints: Checkpoints) -> AsyncIterator[RunningStack]:
    async with running_stack(checkpoints("llama")) as running:
        yield running


def generate(folder: Path, prompt: list[int], **options: Any) -> list[list[int]]:
    """Returns what transformers alone finds, each output up to its end."""
    model = deepcopy(own(AutoModelForCausalLM, folder))
    ids = torch.tensor([prompt])
    rows = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[:, len(prompt) :].tolist()
    return [row[: row.index(END_ID) + 1] if END_ID in row else row for row in rows]


async def test_candidates_come_by_index_and_the_first_is_that_of_a_request_for_one(stack: RunningStack) -> None:
    four, one, neighbour = await asyncio.gather(
        read(stack.client, request(PROMPT, candidate_count=4, **SAMPLED)),
        read(stack.client, request(PROMPT, **SAMPLED)),
        read(stack.client, request([8], max_new_tokens=30, ignore_eos=True)),
    )
    prompt_tokens = stack.text.metric("sensorium_engine_prompt_tokens_total")
    whole = await stack.client.text.generate(
        GenerateRequest(
            prompt_token_ids=TokenIds(ids=PROMPT), parameters=GenerationParameters(candidate_count=4, **SAMPLED)
        )
    )
    assert prompt_tokens == 2 * len(PROMPT) + 1
    assert four.token_ids == one.token_ids
    assert len({tuple(ids) for ids in four.candidates.values()}) == 4
    assert [finish.candidate_index for finish in four.finishes] == [0, 1, 2, 3]
    assert four.usage.output_token_count == sum(map(len, four.candidates.values()))
    assert four.usage.input_token_count == len(PROMPT)
    assert len(neighbour.token_ids) == 30
    assert [candidate.candidate_index for candidate in whole.candidates] == [0, 1, 2, 3]
    for candidate in whole.candidates:
        assert list(candidate.token_ids) == four.candidates[candidate.candidate_index]
        assert candidate.text == tokenizer().decode(candidate.token_ids, skip_special_tokens=True)


async def test_an_interrupted_stream_of_candidates_goes_on_behind_any_of_its_events(stack: RunningStack) -> None:
    asked = request(PROMPT, candidate_count=3, **SAMPLED | {"max_new_tokens": 8})
    whole = await read(stack.client, asked)
    deltas = [event.delta async for event in stack.client.text.stream_generate(asked) if event.HasField("delta")]
    for cut in range(len(deltas) + 1):
        held: dict[int, list[int]] = {}
        for delta in deltas[:cut]:
            held.setdefault(delta.candidate_index, []).extend(delta.token_ids)
        del asked.delivered[:]
        asked.delivered.extend(DeliveredTokens(candidate_index=i, token_ids=ids) for i, ids in held.items())
        rest = await read(stack.client, asked)
        for i, ids in whole.candidates.items():
            assert held.get(i, []) + rest.candidates[i] == ids
        assert rest.finishes == whole.finishes
        assert rest.usage.output_token_count == whole.usage.output_token_count
    await until(lambda: stack.text.metric("sensorium_engine_kv_cache_usage_ratio") == 0)


@pytest.mark.parametrize("architecture", drawn(["llama", "gemma3"], 1))
async def test_beams_equal_generate_beside_streams_and_come_at_the_end(
    architecture: str, checkpoints: Checkpoints
) -> None:
    folder = checkpoints(architecture)
    cases = [(3, 1.0, BeamSearchParameters.EARLY_STOPPING_LIKELY), (5, -1.0, BeamSearchParameters.EARLY_STOPPING_FIRST)]
    async with running_stack(folder, max_sequences=12, prefill_tokens=16) as stack:
        *searched, stream = await asyncio.gather(
            *(
                read(
                    stack.client,
                    request(
                        PROMPT[: 10 + count],
                        beam_search=BeamSearchParameters(
                            beam_count=count, length_penalty=penalty, early_stopping=early
                        ),
                        candidate_count=2,
                        max_new_tokens=24,
                    ),
                )
                for count, penalty, early in cases
            ),
            read(stack.client, request([8], max_new_tokens=60, ignore_eos=True)),
        )
    assert stream.deltas > 1
    for (count, penalty, early), result in zip(cases, searched, strict=True):
        expected = generate(
            folder, PROMPT[: 10 + count], num_beams=count, num_return_sequences=2, length_penalty=penalty,
            early_stopping=EARLY[early], max_new_tokens=24, do_sample=False,
        )  # fmt: skip
        assert [result.candidates[i] for i in range(2)] == expected
        assert result.events == ["started", "delta", "delta", "completed"]
        assert result.usage.output_token_count == sum(map(len, expected))


async def test_a_model_that_searches_by_its_own_configuration_does(tmp_path: Path) -> None:
    folder = write_checkpoint(
        tmp_path, "llama", num_beams=3, num_return_sequences=2, length_penalty=2.0, early_stopping=True
    )
    async with running_stack(folder) as stack:
        result = await read(stack.client, request(PROMPT, max_new_tokens=16))
    assert [result.candidates[i] for i in range(2)] == generate(folder, PROMPT, max_new_tokens=16)
    assert {finish.finish.reason for finish in result.finishes} <= {
        FinishReason.FINISH_REASON_MAX_NEW_TOKENS,
        FinishReason.FINISH_REASON_END_OF_SEQUENCE,
    }


async def test_log_probabilities_of_the_prompt_are_those_of_the_models_own_forward(checkpoints: Checkpoints) -> None:
    folder = checkpoints("llama")
    async with running_stack(folder, prefill_tokens=64) as stack:
        streamed = await read(
            stack.client, request(PROMPT, prompt_logprob_count=3, max_new_tokens=4, candidate_count=2)
        )
        whole = await stack.client.text.generate(
            GenerateRequest(
                prompt_token_ids=TokenIds(ids=PROMPT),
                parameters=GenerationParameters(prompt_logprob_count=3, max_new_tokens=4),
            )
        )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = torch.log_softmax(model(torch.tensor([PROMPT])).logits[0], dim=-1)
    assert list(streamed.started.prompt_logprobs) == list(whole.prompt_logprobs)
    first, *others = whole.prompt_logprobs
    assert [entry.token_id for entry in whole.prompt_logprobs] == PROMPT
    assert not first.HasField("logprob")
    for line, entry in zip(expected, others, strict=False):
        assert entry.logprob == pytest.approx(float(line[entry.token_id]), abs=1e-4)
        assert entry.rank == int((line > line[entry.token_id]).sum()) + 1
        assert [other.token_id for other in entry.alternatives] == line.topk(3).indices.tolist()
        assert all(other.text == tokenizer().decode([other.token_id]) for other in entry.alternatives)


async def test_log_probabilities_that_might_not_fit_a_message_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "llama", context=2048)
    async with running_stack(folder, message_bytes=400_000) as stack:
        prompt = [7 + i % 300 for i in range(1000)]
        fits = await read(stack.client, request(prompt, prompt_logprob_count=8, max_new_tokens=1))
        assert len(fits.started.prompt_logprobs) == 1000
        with pytest.raises(InvalidArgument) as caught:
            await read(stack.client, request(prompt, prompt_logprob_count=20, max_new_tokens=1))
    (violation,) = caught.value.violations
    assert violation.field == "parameters.prompt_logprob_count"
