import asyncio
import random
from pathlib import Path

import pytest

from tests.drawn import drawn
from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import read, request
from tests.e2e.stack import running_stack
from tests.tiny.language_models import greedy, tokenizer

NEW_TOKENS = 24
ARCHITECTURES = ["llama", "qwen3", "gemma3", "gpt2", "mixtral"]


def prompts(count: int) -> list[list[int]]:
    source = random.Random(5)
    return [[source.randrange(6, len(tokenizer())) for _ in range(length)] for length in (1, 5, 40, 13, 70, 7, 22, 31)][
        :count
    ]


@pytest.fixture(params=drawn(ARCHITECTURES, 2))
def folder(request: pytest.FixtureRequest, checkpoints: Checkpoints) -> Path:
    return checkpoints(request.param)


async def test_greedy_tokens_equal_generate_alone(folder: Path) -> None:
    """One request at a time, prompts longer than a page, than a sliding window and than a prefill chunk."""
    async with running_stack(folder, prefill_tokens=16) as stack:
        for prompt in prompts(5):
            result = await read(stack.client, request(prompt, temperature=0, max_new_tokens=NEW_TOKENS))
            assert result.token_ids == greedy(folder, prompt, NEW_TOKENS)
            assert result.text == tokenizer().decode(result.token_ids, skip_special_tokens=True)


async def test_greedy_tokens_equal_generate_in_a_mixed_batch(folder: Path) -> None:
    """Eight greedy requests that join one after the other, between sampled ones with stops and other lengths."""

    async def later(delay: float, prompt: list[int], **parameters: object) -> list[int]:
        await asyncio.sleep(delay)
        return (await read(stack.client, request(prompt, **parameters))).token_ids

    async with running_stack(folder, prefill_tokens=16) as stack:
        noise = [
            later(i * 0.01, prompt, temperature=1.5, top_k=20, top_p=0.9, seed=i, max_new_tokens=20 + 7 * i)
            for i, prompt in enumerate(prompts(4))
        ]
        wanted = [
            later(i * 0.02, prompt, temperature=0, max_new_tokens=NEW_TOKENS) for i, prompt in enumerate(prompts(8))
        ]
        results = await asyncio.gather(*wanted, *noise)
        assert stack.text.metric("sensorium_engine_batch_size_bucket", le="2.0") < stack.text.metric(
            "sensorium_engine_batch_size_count"
        ), "the requests never shared a step"
    for prompt, ids in zip(prompts(8), results[:8], strict=True):
        assert ids == greedy(folder, prompt, NEW_TOKENS)
