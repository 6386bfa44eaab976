import asyncio
from typing import Any

import pytest

from sensorium import InvalidArgument
from sensorium.v1.common_pb2 import GenerationParameters, TokenIds
from sensorium.v1.models_pb2 import GetModelRequest
from sensorium.v1.text_pb2 import GenerateRequest, GenerateResponse
from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import read, request
from tests.e2e.stack import running_stack

PROMPT = [*range(60, 80)] * 3
PARAMETERS: dict[str, Any] = {
    "allowed_token_ids": [60, 61], "max_new_tokens": 120, "ignore_eos": True, "temperature": 0.6, "seed": 4,
    "logprob_count": 1,
}  # fmt: skip


def asked(**parameters: Any) -> GenerateRequest:
    return GenerateRequest(
        prompt_token_ids=TokenIds(ids=PROMPT), parameters=GenerationParameters(**PARAMETERS, **parameters)
    )


async def test_outputs_are_the_same_and_usage_tells_what_was_spared(checkpoints: Checkpoints) -> None:
    async with running_stack(checkpoints("llama")) as stack:
        generate = stack.client.text.generate
        plain: GenerateResponse = await generate(asked())
        whole: GenerateResponse = await generate(asked(prompt_lookup={}))
        streamed, _ = await asyncio.gather(
            read(stack.client, request(PROMPT, **PARAMETERS, prompt_lookup={"max_proposed_token_count": 3})),
            generate(asked()),
        )
        model = (await stack.client.models.get_model(GetModelRequest())).model
        proposed = stack.text.metric("sensorium_engine_proposed_tokens_total")
    assert model.prompt_lookup
    assert whole.candidates[0].token_ids == plain.candidates[0].token_ids == streamed.token_ids
    assert [entry.logprob for entry in whole.candidates[0].logprobs] == pytest.approx(
        [entry.logprob for entry in plain.candidates[0].logprobs], abs=1e-5
    )
    assert 0 < whole.usage.accepted_token_count < whole.usage.proposed_token_count
    assert plain.usage.proposed_token_count == plain.usage.accepted_token_count == 0
    assert proposed == whole.usage.proposed_token_count + streamed.usage.proposed_token_count


@pytest.mark.parametrize("kind", ["mamba", "t5"])
async def test_models_that_cannot_say_so_and_refuse(kind: str, checkpoints: Checkpoints) -> None:
    async with running_stack(checkpoints(kind)) as stack:
        assert not (await stack.client.models.get_model(GetModelRequest())).model.prompt_lookup
        with pytest.raises(InvalidArgument) as caught:
            await stack.client.text.generate(asked(prompt_lookup={}))
    fields = [violation.field for violation in caught.value.violations]
    assert "parameters.prompt_lookup" in fields
