import asyncio
from typing import Any

import torch
from transformers import PreTrainedModel

from tests.services.bench import BenchMaker
from tests.services.engine.generation.test_engine_equals_generate import generate, prompts

COUNT = 30
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "repetition penalty": ({"repetition_penalty": 1.4}, {"repetition_penalty": 1.4}),
    "runs of 1": ({"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 1}),
    "runs of 2": ({"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 2}),
    "bad words": (
        {"bad_words": (*((i,) for i in range(6, 200, 3)), (100, 101), (2,))},
        {"bad_words_ids": [*([i] for i in range(6, 200, 3)), [100, 101], [2]]},
    ),
    "bias": (
        {"logit_bias": tuple((i, 0.25) for i in range(100, 150))},
        {"sequence_bias": [[[i], 0.25] for i in range(100, 150)]},
    ),
    "allowed": (
        {"allowed_token_ids": (*range(50, 90),)},
        {"prefix_allowed_tokens_fn": lambda row, ids: [2, *range(50, 90)]},
    ),
    "all": (
        {"repetition_penalty": 0.8, "no_repeat_ngram_size": 3, "bad_words": ((9,),), "logit_bias": ((70, 0.5),)},
        {"repetition_penalty": 0.8, "no_repeat_ngram_size": 3, "bad_words_ids": [[9]], "sequence_bias": [[[70], 0.5]]},
    ),
}  # fmt: skip


async def test_every_option_beside_the_others_equals_generate(real: BenchMaker, own_llama: PreTrainedModel) -> None:
    bench = real(max_sequences=12, prefill_tokens=16)
    asked = [
        (prompt, ours, generate(own_llama, prompt, COUNT, **theirs))
        for prompt in prompts(3, longest=20, seed=3)
        for ours, theirs in CASES.values()
    ]
    results = await asyncio.gather(
        *(
            bench.run(prompt, max_new_tokens=COUNT, min_new_tokens=COUNT, end_token_ids=frozenset({2}), **ours)
            for prompt, ours, _ in asked
        )
    )
    assert [result.ids for result in results] == [expected for _, _, expected in asked]
    # Each option changed something.
    plain, *others = [expected for _, _, expected in asked[: len(CASES)]]
    assert all(other != plain for other in others)


async def test_preemption_changes_nothing_for_penalties_and_constraints(real: BenchMaker) -> None:
    fields = [ours | {"frequency_penalty": 0.2, "logprob_count": 1} for ours, _ in CASES.values()]
    asked = [
        (prompt, {"max_new_tokens": COUNT, **own})
        for prompt, own in zip(prompts(len(fields), seed=4), fields, strict=True)
    ]
    roomy, tight = real(), real(pages=10)
    expected, found = [await bench.run_all(*asked) for bench in (roomy, tight)]
    assert [result.ids for result in found] == [result.ids for result in expected]
    assert all(len(result.logprobs) == COUNT for result in found)
    assert tight.metric("preemptions_total") > roomy.metric("preemptions_total") == 0


async def test_tokens_drawn_are_those_that_generate_may_draw(real: BenchMaker, own_llama: PreTrainedModel) -> None:
    bench, prompt = real(), [9, 33, 120]
    options: dict[str, Any] = {"temperature": 0.6, "top_k": 60, "typical_p": 0.2}
    results = await asyncio.gather(*(bench.run(prompt, max_new_tokens=1, seed=i, **options) for i in range(300)))
    scores = own_llama.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 3, dtype=torch.int64), max_new_tokens=1, do_sample=True,
        output_scores=True, return_dict_in_generate=True, **options,
    ).scores[0][0]  # fmt: skip
    kept = set(scores.isfinite().nonzero().flatten().tolist())
    drawn = {result.ids[0] for result in results}
    assert 1 < len(kept) < 60
    assert drawn == kept
