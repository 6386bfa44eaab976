import asyncio
import random
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Delta, Likelihood, TokenLogprob
from services.engine.generation.sampling.likelihood import RawLikelihoods
from services.engine.generation.sampling.sampler import NoToken
from tests.services.bench import BenchMaker, Result, output_of, request
from tests.services.engine.generation.sampling.own_logprobs import require_own
from tests.services.engine.generation.sequences import sequence

PROMPT = [9, 33, 120, 47, 15]
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"logprob_count": 5},
    "chosen token only": {"logprob_count": 0, "temperature": 1.3, "seed": 2},
    "most": {"logprob_count": 20, "temperature": 0.2, "top_k": 3, "seed": 3},
    "changed logits": {
        "logprob_count": 3, "repetition_penalty": 1.8, "frequency_penalty": 1.0, "logit_bias": ((30, 90.0),),
        "no_repeat_ngram_size": 1,
    },
    "plain": {},
}  # fmt: skip


def require_those_of(model: PreTrainedModel, result: Result, count: int, tokenizer: PreTrainedTokenizerFast) -> None:
    with torch.inference_mode():
        logits = model(torch.tensor([PROMPT + result.ids])).logits[0, len(PROMPT) - 1 : -1]
    expected = torch.log_softmax(logits, dim=-1)
    assert [entry.token_id for entry in result.logprobs] == result.ids
    for line, entry in zip(expected, result.logprobs, strict=True):
        require_own(line, entry, count, tokenizer)
        assert len({other.token_id for other in entry.alternatives}) == count


async def test_they_equal_log_softmax_of_the_model_whatever_the_request_does_to_its_logits(
    real: BenchMaker, own_llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    bench = real()
    results = await asyncio.gather(*(bench.run(PROMPT, **fields) for fields in CASES.values()))
    for fields, result in zip(CASES.values(), results, strict=True):
        if "logprob_count" in fields:
            require_those_of(own_llama, result, fields["logprob_count"], tokenizer)
        else:
            assert result.logprobs == []
    assert any(entry.rank > 1 for entry in results[3].logprobs)


async def test_asking_for_them_changes_no_token(real: BenchMaker) -> None:
    bench = real()
    for fields in CASES.values():
        silent = {name: value for name, value in fields.items() if name != "logprob_count"}
        assert (await bench.run(PROMPT, **fields)).ids == (await bench.run(PROMPT, **silent)).ids


def likelihood(token_id: int) -> Likelihood:
    return Likelihood(-token_id / 8, token_id, ((token_id, -0.5),))


def test_they_stay_beside_their_ids_while_text_is_held_back() -> None:
    generator = random.Random(2)
    longest = 0
    for _ in range(50):
        ids = [generator.randrange(6, 320) for _ in range(30)]
        asked = request(PROMPT, max_new_tokens=30, stop_strings=("ab", "\N{REPLACEMENT CHARACTER} ", "never found"))
        output, deltas = output_of(asked), list[Delta]()
        for token_id in ids:
            finish = output.push(token_id, likelihood(token_id))
            deltas += [delta] if (delta := output.take()) else []
            if finish:
                break
        for delta in deltas:
            assert [entry.token_id for entry in delta.logprobs] == list(delta.token_ids)
            assert all(entry.logprob == -entry.token_id / 8 for entry in delta.logprobs)
        assert sum(len(delta.logprobs) for delta in deltas) == sum(len(delta.token_ids) for delta in deltas)
        longest = max(longest, *(len(delta.token_ids) for delta in deltas))
    assert longest > 3  # some were held back


def test_what_was_delivered_before_a_resume_has_none() -> None:
    output = output_of(request(PROMPT, max_new_tokens=9, delivered=(20, 21)))
    output.push(22, likelihood(22))
    delta = output.take()
    assert delta is not None
    assert [entry.token_id for entry in delta.logprobs] == list(delta.token_ids) == [22]


async def test_they_stay_beside_their_ids_when_deltas_are_merged() -> None:
    stream = GenerationStream()
    for token_id in (5, 6, 7):
        stream.deliver(Delta("x", (token_id,), (TokenLogprob(token_id, -1.0, 1, ()),)))
    merged = await anext(stream)
    assert isinstance(merged, Delta)
    assert [entry.token_id for entry in merged.logprobs] == list(merged.token_ids) == [5, 6, 7]


def test_a_row_without_a_token_has_none_and_a_small_vocabulary_gives_what_it_has() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0], [5.0, 1.0, 1.0]])
    rows = [sequence([5], logprob_count=20), sequence([5], logprob_count=2), sequence([5])]
    raw = RawLikelihoods(logits, rows)
    logits.fill_(0)  # what is done to them later changes nothing
    first, second, third = raw.of([2, NoToken.NOT_NUMBERS, 0])
    assert (second, third) == (None, None)
    assert first is not None
    assert (first.rank, [token for token, _ in first.likeliest]) == (2, [1, 2, 0])
