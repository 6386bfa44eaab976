import asyncio
from typing import Any

import pytest

from tests.services.bench import BenchMaker, output_of, request
from tests.services.dice import dice

PROMPT = [9, 33, 120, 47, 15]
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 30},
    "sampled": {"max_new_tokens": 30, "temperature": 1.1, "seed": 5, "top_p": 0.95, "repetition_penalty": 1.2},
    "penalized": {
        "max_new_tokens": 30, "no_repeat_ngram_size": 2, "presence_penalty": 0.5, "frequency_penalty": 0.3,
        "repetition_penalty": 1.2, "logit_bias": ((40, 2.0), (41, -9.0)), "logprob_count": 3,
    },
    "constrained": {
        "max_new_tokens": 30, "temperature": 1.5, "seed": 8, "typical_p": 0.7, "no_repeat_ngram_size": 3,
        "frequency_penalty": -0.4, "bad_words": ((50,), (51, 52)), "allowed_token_ids": tuple(range(30, 200)),
        "logprob_count": 2,
    },
    "minimum": {"max_new_tokens": 30, "min_new_tokens": 9, "end_token_ids": frozenset(range(100, 200))},
}  # fmt: skip


def released(ids: list[int], **fields: Any) -> str:
    """Returns the text sent to the client by the time these ids were generated."""
    output = output_of(request(PROMPT, **fields))
    text = ""
    for token_id in ids:
        output.push(token_id)
        text += delta.text if (delta := output.take()) else ""
    return text


@pytest.mark.parametrize("stops", [False, True], ids=["", "stop string"])
@pytest.mark.parametrize("fields", CASES.values(), ids=CASES.keys())
async def test_a_resume_from_anywhere_equals_what_was_not_interrupted(
    real: BenchMaker, fields: dict[str, Any], stops: bool
) -> None:
    bench = real(max_sequences=16, prefill_tokens=40)
    whole = await bench.run(PROMPT, **fields)
    if stops:
        # Two characters that first occur in the second half, so that a cut may fall between them.
        text = whole.text
        places = range(len(text) // 2, len(text) - 1)
        stop = next(text[place : place + 2] for place in places if text.index(text[place : place + 2]) == place)
        fields = fields | {"stop_strings": (stop, "never found")}
        whole = await bench.run(PROMPT, **fields)
        assert whole.completed.finish.stop_string
    assert len(whole.ids) > 9

    async def resume(k: int) -> None:
        rest = await bench.run(PROMPT, delivered=tuple(whole.ids[:k]), **fields)
        assert whole.ids[:k] + rest.ids == whole.ids
        assert released(whole.ids[:k], **fields) + rest.text == whole.text
        assert rest.completed.finish == whole.completed.finish
        assert [entry.token_id for entry in rest.logprobs] == [entry.token_id for entry in whole.logprobs[k:]]
        for entry, before in zip(rest.logprobs, whole.logprobs[k:], strict=True):
            assert entry.rank == before.rank
            assert entry.logprob == pytest.approx(before.logprob, abs=1e-4)
            assert [other.token_id for other in entry.alternatives] == [o.token_id for o in before.alternatives]
        assert rest.completed.input_token_count == len(PROMPT)
        assert rest.completed.output_token_count == len(whole.ids)

    cuts = {0, 1, len(whole.ids) - 1, len(whole.ids), *dice().sample(range(len(whole.ids)), 8)}
    await asyncio.gather(*map(resume, cuts))
    assert bench.idle
