import asyncio
import random
import time
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from sensorium.errors import DeadlineExceeded, Internal
from services.engine.generation.requests.request import BeamParameters, Completed, Delta, PromptLogprobs, TokenLogprob
from services.engine.generation.sequence import SCORED_TOKEN_COST, CachedTokens
from tests.services.bench import BenchMaker, Result, eventually, pass_time, read
from tests.services.engine.generation.sampling.own_logprobs import require_own

SOURCE = random.Random(4)
PROMPT = [SOURCE.randrange(6, 320) for _ in range(75)]


def require_those_of(
    model: PreTrainedModel, entries: list[TokenLogprob], count: int, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = [entry.token_id for entry in entries]
    with torch.inference_mode():
        expected = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)
    assert (entries[0].logprob, entries[0].rank, entries[0].alternatives) == (None, 0, ())
    for line, entry in zip(expected, entries[1:], strict=False):
        require_own(line, entry, count, tokenizer)


@pytest.mark.parametrize("length", [1, 2, 16, 75])
@pytest.mark.parametrize("prefill_tokens", [16, 64, 1024])
async def test_they_equal_log_softmax_of_the_model_however_the_prompt_is_cut(
    real: BenchMaker,
    own_llama: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prefill_tokens: int,
    length: int,
) -> None:
    bench, prompt = real(prefill_tokens=prefill_tokens), PROMPT[:length]
    plain = await bench.run(prompt, max_new_tokens=6)
    for count in (0, 1, 20):
        result = await bench.run(prompt, prompt_logprob_count=count, max_new_tokens=6)
        assert [entry.token_id for entry in result.prompt_logprobs] == prompt
        require_those_of(own_llama, result.prompt_logprobs, count, tokenizer)
        assert result.ids == plain.ids
        assert result.completed.cached_token_count == 0
        assert result.logprobs == []
    assert bench.idle


async def test_pages_computed_for_them_are_shared_with_others_but_not_the_other_way(real: BenchMaker) -> None:
    bench = real()
    await bench.run(PROMPT, prompt_logprob_count=0, max_new_tokens=1)
    assert (await bench.run(PROMPT, max_new_tokens=1)).completed.cached_token_count == 64
    assert (await bench.run(PROMPT, prompt_logprob_count=0, max_new_tokens=1)).completed.cached_token_count == 0


MIXED: dict[str, dict[str, Any]] = {
    "plain": {},
    "with those of the output": {"logprob_count": 2},
    "sampled candidates": {"candidate_count": 3, "temperature": 1.0, "seed": 3},
    "beams": {"beams": BeamParameters(3), "candidate_count": 2},
    "changed logits": {"repetition_penalty": 1.5, "logit_bias": ((30, 9.0),)},
    "resumed": {"delivered": (40, 41, 42)},
    "candidates resumed": {"candidate_count": 3, "delivered_each": ((40,), (), (40, 41))},
}


async def test_beside_each_other_and_in_a_tight_cache_they_are_the_models_own(
    real: BenchMaker, own_llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    roomy, tight = real(max_sequences=32), real(pages=14, max_sequences=6, prefill_tokens=40)
    fields = {"prompt_logprob_count": 2, "max_new_tokens": 30}
    asked = [(PROMPT, fields | more) for more in MIXED.values()]
    expected, results = [await bench.run_all(*asked) for bench in (roomy, tight)]
    for before, result in zip(expected, results, strict=True):
        require_those_of(own_llama, result.prompt_logprobs, 2, tokenizer)
        assert [one.token_ids for one in result.candidates] == [one.token_ids for one in before.candidates]
    assert tight.metric("preemptions_total") > roomy.metric("preemptions_total") == 0
    assert tight.idle


async def test_they_come_first_and_once(real: BenchMaker) -> None:
    bench = real()
    for fields in MIXED.values():
        stream = bench.submit(PROMPT, prompt_logprob_count=1, max_new_tokens=6, **fields)
        kinds = [type(event) for event in [event async for event in stream]]
        assert kinds[0] is PromptLogprobs
        assert kinds[-1] is Completed
        assert set(kinds[1:-1]) == {Delta}


async def test_a_resume_of_what_has_ended_computes_them_and_nothing_else(real: BenchMaker) -> None:
    bench = real()
    fields: dict[str, Any] = {"candidate_count": 2, "max_new_tokens": 4, "prompt_logprob_count": 1}
    whole = await bench.run(PROMPT, **fields)
    held = tuple(candidate.token_ids for candidate in whole.candidates)
    rest = await bench.run(PROMPT, delivered_each=held, **fields)
    assert rest.prompt_logprobs == whole.prompt_logprobs
    assert [candidate.token_ids for candidate in rest.candidates] == [(), ()]
    assert rest.completed.finishes == whole.completed.finishes
    assert bench.metric("generation_tokens_total") == 8
    assert bench.idle


async def test_scored_tokens_share_a_step_by_their_cost(real: BenchMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, wanted = real(prefill_tokens=10 * SCORED_TOKEN_COST), list[int]()
    run = bench.runner.run

    def noting(rows: list[Any]) -> torch.Tensor:
        logits = run(rows)
        wanted.append(len(logits))
        return logits

    monkeypatch.setattr(bench.runner, "run", noting)
    await bench.run_all(*[(PROMPT, {"prompt_logprob_count": 1, "max_new_tokens": 1})] * 4)
    assert sum(wanted) == 4 * len(PROMPT)
    assert max(wanted) <= 10 + 4


async def test_a_failing_neighbour_and_a_step_repeated_change_nothing(fake: BenchMaker) -> None:
    bench = fake(prefill_tokens=16)
    failures: list[int] = []

    def fail(sequence: CachedTokens) -> None:
        if sequence.token_ids[0] == 300 and sequence.computed > 4:
            failures.append(1)
            raise IndexError("secret")

    bench.runner.on_row = fail
    good, bad = await asyncio.gather(
        bench.run(list(range(10, 40)), prompt_logprob_count=1, max_new_tokens=3),
        bench.run([300] * 20, prompt_logprob_count=1, max_new_tokens=3),
        return_exceptions=True,
    )
    assert failures
    assert isinstance(bad, Internal)
    assert isinstance(good, Result)
    assert [entry.token_id for entry in good.prompt_logprobs] == list(range(10, 40))
    await eventually(lambda: bench.idle)


async def test_an_error_before_them_ends_the_stream_without_them(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake()
    bench.runner.hold()
    stream = bench.submit(PROMPT, prompt_logprob_count=1, deadline=time.monotonic() + 3600)
    pass_time(monkeypatch, 3600)
    bench.runner.free()
    with pytest.raises(DeadlineExceeded):
        await read(stream)
    await eventually(lambda: bench.idle)
