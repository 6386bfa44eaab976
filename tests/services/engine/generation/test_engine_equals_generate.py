import asyncio
import random
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from services.engine.generation.requests.request import Finish, FinishReason
from services.engine.loading import LoadedModel
from tests.services.bench import BenchMaker, read

SAMPLED = {"temperature": 1.2, "top_p": 0.95, "top_k": 60, "repetition_penalty": 1.1}


def prompts(count: int, *, longest: int = 40, seed: int = 0) -> list[list[int]]:
    generator = random.Random(seed)
    return [[generator.randrange(6, 320) for _ in range(generator.randint(1, longest))] for _ in range(count)]


def generate(model: PreTrainedModel, prompt: list[int], count: int, **options: Any) -> list[int]:
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            **options,
        )
    return output[0, len(prompt) :].tolist()


@pytest.fixture(scope="module")
def expected(own_llama: PreTrainedModel) -> list[tuple[list[int], list[int]]]:
    """Prompts, and the tokens with which transformers alone continues them."""
    return [(prompt, generate(own_llama, prompt, 40)) for prompt in prompts(12)]


async def test_one_request_alone(real: BenchMaker, expected: list[tuple[list[int], list[int]]]) -> None:
    bench = real(prefill_tokens=7)
    for prompt, ids in expected[:4]:
        result = await bench.run(prompt, max_new_tokens=40)
        assert result.ids == ids
        assert result.completed.finish == Finish(FinishReason.MAX_NEW_TOKENS)
        assert (result.completed.input_token_count, result.completed.output_token_count) == (len(prompt), 40)


@pytest.mark.parametrize(
    "sizes",
    [
        {"max_sequences": 5, "prefill_tokens": 16},
        {"max_sequences": 12, "pages": 40},
        {"max_sequences": 5, "prefill_tokens": 16, "pages": 20, "reference": True},
    ],
    ids=["few rows", "many rows", "reference attention"],
)
async def test_requests_that_join_and_leave_at_random_times(
    real: BenchMaker, expected: list[tuple[list[int], list[int]]], sizes: dict[str, int]
) -> None:
    bench = real(**sizes)
    generator = random.Random(1)

    async def ask(prompt: list[int], count: int) -> list[int]:
        await asyncio.sleep(generator.random() * 0.2)
        return (await bench.run(prompt, max_new_tokens=count)).ids

    lengths = [generator.randint(1, 40) for _ in expected]
    asked = (ask(prompt, count) for (prompt, _), count in zip(expected, lengths, strict=True))
    results = await asyncio.gather(*asked)
    assert results == [ids[:count] for (_, ids), count in zip(expected, lengths, strict=True)]


async def test_sampling_with_a_seed_is_the_same_alone_and_in_a_full_batch(real: BenchMaker) -> None:
    bench = real(max_sequences=8, prefill_tokens=16)
    asked = [(prompt, {**SAMPLED, "seed": i, "max_new_tokens": 20}) for i, prompt in enumerate(prompts(8))]
    alone = [(await bench.run(prompt, **fields)).ids for prompt, fields in asked]
    together = await bench.run_all(*asked)
    assert [result.ids for result in together] == alone
    other = await bench.run(asked[0][0], **{**asked[0][1], "seed": 99})
    assert other.ids != alone[0]


async def test_preemption_changes_nothing_and_is_counted(real: BenchMaker) -> None:
    asked = [
        (prompt, {**(SAMPLED if i % 2 else {}), "seed": i, "max_new_tokens": 40})
        for i, prompt in enumerate(prompts(6, seed=2))
    ]
    roomy, tight = real(), real(pages=10)
    alone = [(await roomy.run(prompt, **fields)).ids for prompt, fields in asked]
    together = await tight.run_all(*asked)
    assert [result.ids for result in together] == alone
    assert tight.metric("preemptions_total") > 0
    assert roomy.metric("preemptions_total") == 0
    assert tight.idle


async def test_an_end_of_sequence_token_ends_it(
    real: BenchMaker, expected: list[tuple[list[int], list[int]]], llama: LoadedModel
) -> None:
    prompt, ids, end = next((p, ids, token) for p, ids in expected for token in ids if ids.index(token) > 5)
    result = await real().run(prompt, max_new_tokens=40, end_token_ids=frozenset({end}))
    assert result.ids == ids[: ids.index(end) + 1]
    assert result.completed.finish == Finish(FinishReason.END_OF_SEQUENCE, token_id=end)
    assert result.text == llama.tokenizer.decode(prompt + result.ids[:-1])[len(llama.tokenizer.decode(prompt)) :]


async def test_times_add_up(real: BenchMaker) -> None:
    bench = real()
    for count in (1, 10):
        times = (await bench.run([7, 8, 9], max_new_tokens=count)).completed.times
        assert 0 < times.compute <= times.total
        assert 0 <= times.queue <= times.time_to_first_output <= times.total


async def test_a_prompt_of_one_token_and_a_full_cache_work(real: BenchMaker) -> None:
    bench = real(pages=3)
    result = await bench.run([7], max_new_tokens=47)
    assert len(result.ids) == 47
    assert bench.idle


async def test_both_readers_of_two_streams_get_all_of_their_own(real: BenchMaker) -> None:
    bench = real()
    first, second = bench.submit([7, 8], max_new_tokens=30), bench.submit([9], max_new_tokens=30)
    results = await asyncio.gather(read(first), read(second))
    assert [len(result.ids) for result in results] == [30, 30]
    assert bench.metric("requests_total", finish_reason="max_new_tokens") == 2
    assert bench.metric("generation_tokens_total") == 60
    assert bench.metric("prompt_tokens_total") == 3
