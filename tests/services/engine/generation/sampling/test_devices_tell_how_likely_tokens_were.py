"""What a device finds of the likelihood of tokens is what is found where logits are read."""

import pytest
import torch

from services.engine.generation.sampling.device_choice import NO_TOKEN, UNDECIDED
from services.engine.generation.sampling.device_likelihoods import likelihoods_of
from services.engine.generation.sampling.likelihood import RawLikelihoods
from tests.services.dice import dice
from tests.services.engine.generation.sequences import sequence as sequence_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(("kind", "vocabulary"), [(torch.float32, 5000), (torch.bfloat16, 5000), (torch.bfloat16, 7)])
def test_it_is_that_of_raw_logits(kind: torch.dtype, vocabulary: int) -> None:
    source, told = dice(), 0
    for _ in range(30):
        counts = [source.choice([None, 0, 1, 5, 20]) for _ in range(source.randrange(1, 12))]
        sequences = [sequence_of([5], logprob_count=count) for count in counts]
        logits = (torch.randn(len(counts), vocabulary) * 4).to(kind)  # of which many are equal if they are narrow
        tokens = [source.choice([NO_TOKEN, UNDECIDED, *[source.randrange(vocabulary)] * 6]) for _ in counts]
        finds = likelihoods_of(sequences, CPU)
        assert (finds is None) == all(count is None for count in counts)
        found = finds.report(logits, torch.tensor(tokens)).read() if finds else {}
        expected = RawLikelihoods(logits.float(), sequences).of([max(token, 0) for token in tokens])
        assert found == {i: one for i, one in enumerate(expected) if one is not None}
        told += len(found)
    assert told > 20


def test_which_of_equal_tokens_are_told_does_not_depend_on_how_many_anybody_asks_for() -> None:
    logits = torch.zeros(2, 3000)
    few, many = (sequence_of([5], logprob_count=count) for count in (3, 20))
    alone, _, beside, others = (
        one for rows in ([few, few], [few, many]) for one in RawLikelihoods(logits, rows).of([0, 0])
    )
    assert alone
    assert beside
    assert others
    assert alone.likeliest == beside.likeliest == others.likeliest[:3]
