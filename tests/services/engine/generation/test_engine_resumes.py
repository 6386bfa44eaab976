import asyncio
from typing import Any

import pytest

from tests.services.bench import BenchMaker, output_of, request

PROMPT = [9, 33, 120, 47, 15]
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 30},
    "sampled": {"max_new_tokens": 30, "temperature": 1.1, "seed": 5, "top_p": 0.95, "repetition_penalty": 1.2},
    "minimum": {"max_new_tokens": 30, "min_new_tokens": 9, "end_token_ids": frozenset(range(100, 200))},
}


def released(ids: list[int], **fields: Any) -> str:
    """Returns the text that had left when these ids had been generated."""
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
        # Two characters that first occur in the second half, so that one may be held back at a cut.
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
        assert rest.completed.input_token_count == len(PROMPT)
        assert rest.completed.output_token_count == len(whole.ids)

    await asyncio.gather(*map(resume, range(len(whole.ids) + 1)))
    assert bench.idle
