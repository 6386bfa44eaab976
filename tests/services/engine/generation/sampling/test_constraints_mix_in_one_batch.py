import asyncio
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.errors import InvalidArgument
from services.engine.generation.sampling import sampler
from services.engine.generation.sampling.sampler import NoToken, process, sample
from services.engine.generation.sequence import Sequence
from tests.services.bench import BenchMaker, eventually, read
from tests.services.engine.generation.sequences import sequence
from tests.services.fake_runner import continuation

FEATURES: tuple[dict[str, Any], ...] = (
    {"typical_p": 0.3, "temperature": 1.0, "seed": 4},
    {"presence_penalty": 1.5},
    {"frequency_penalty": 0.7, "temperature": 2.0, "seed": 5, "top_k": 9},
    {"no_repeat_ngram_size": 2},
    {"logit_bias": ((3, 9.0), (8, -9.0))},
    {"bad_words": ((6,), (7, 8)), "temperature": 0.7, "seed": 6},
    {"allowed_token_ids": (4, 5, 30)},
    {"repetition_penalty": 1.4, "min_new_tokens": 60, "end_token_ids": frozenset({9})},
)


def rows() -> list[Sequence]:
    """Returns a row of each feature, and plain ones between them."""
    made: list[Sequence] = []
    for i, fields in enumerate(FEATURES):
        made.append(sequence([5, 6, 5], [7, i], **fields))
        made.append(sequence([5, 6, 5], [7, i], temperature=i % 2 * 1.5, seed=i, top_p=0.9))
    return made


def test_a_row_of_each_feature_equals_itself_alone_and_plain_rows_keep_every_byte() -> None:
    logits = torch.randn(2 * len(FEATURES), 40, generator=torch.Generator().manual_seed(0)) * 3
    together, processed = rows(), logits.clone()
    for step in range(12):
        tokens = sample(processed.copy_(logits + step), together)
        for i, token in enumerate(tokens):
            assert isinstance(token, int)
            fresh = rows()[i]
            fresh.token_ids = list(together[i].token_ids)
            assert sample((logits[i : i + 1] + step).clone(), [fresh]) == [token]
            together[i].token_ids.append(token)
        assert torch.equal(processed[1::2], logits[1::2] + step)
        assert together[1].processors == ()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_request_that_forbids_every_token_is_told_from_a_model_that_fails(temperature: float) -> None:
    logits = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    logits[1:3, 3] = float("inf")
    fields: dict[str, Any] = {"temperature": temperature, "seed": 1}
    impossible: dict[str, Any] = fields | {"allowed_token_ids": (4,), "bad_words": ((4,),)}
    made = [sequence([5], **fields) for fields in (impossible, impossible, fields, fields)]
    tokens = sample(logits, made)
    assert tokens[:3] == [NoToken.ALL_FORBIDDEN, NoToken.NOT_NUMBERS, NoToken.NOT_NUMBERS]
    assert isinstance(tokens[3], int)


async def test_a_request_that_comes_to_forbid_every_token_ends_alone_and_says_so(fake: BenchMaker) -> None:
    bench = fake()
    beside = asyncio.create_task(bench.run([9, 10], max_new_tokens=12))
    with pytest.raises(InvalidArgument) as caught:
        await read(bench.submit([5], allowed_token_ids=(7, 8), no_repeat_ngram_size=1))
    (violation,) = caught.value.violations
    assert violation.field == "parameters"
    assert "position 2" in violation.description
    assert (await beside).ids == continuation([9, 10], 12)
    await eventually(lambda: bench.idle)


async def test_a_step_that_fails_and_is_repeated_counts_nothing_twice(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake(max_sequences=4)

    async def both() -> list[list[int]]:
        fields = {"frequency_penalty": 1.5, "presence_penalty": 1.0, "allowed_token_ids": (40, 41, 42)}
        asked = (bench.run([prompt], max_new_tokens=20, **fields) for prompt in (9, 10))
        return [result.ids for result in await asyncio.gather(*asked)]

    expected = await both()
    calls = 0

    def fail_behind_the_first(logits: Tensor, sequences: list[Sequence]) -> dict[int, bool]:
        nonlocal calls
        calls += 1
        if len(sequences) > 1 and calls % 4 == 0:
            noted = sequences[0].processors or ()
            noted[0](logits[0], [*sequences[0].token_ids, 41])  # as if it had failed in the middle of a change
            raise ZeroDivisionError
        return process(logits, sequences)

    monkeypatch.setattr(sampler, "process", fail_behind_the_first)
    assert await both() == expected
    assert calls > 30
