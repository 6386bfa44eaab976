import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from services.engine.generation.sampling.constraints import (
    AllowedTokens,
    BadWords,
    LogitBias,
    NoRepeatedRuns,
    WithheldEndings,
)
from services.engine.generation.sampling.penalties import OutputPenalties, RepetitionPenalty, RowProcessor

VOCABULARY = 12  # small, so that runs repeat
PROMPT = 5
BIAS = ((3, 2.5), (4, -100.0), (11, 0.125))
BAD = ((7,), (2,), (3, 4), (4, 4, 4), (1, 2, 3, 4, 5), (3, 4), (9,) * 60)
ENDS = frozenset({2, 8})

CASES: dict[str, tuple[Callable[[Tensor], RowProcessor], Callable[[], LogitsProcessor]]] = {
    **{
        f"repetition penalty {p}": (
            lambda row, p=p: RepetitionPenalty(p, row),
            lambda p=p: RepetitionPenaltyLogitsProcessor(p),
        )
        for p in (0.5, 1.3, 100.0)
    },
    **{
        f"runs of {n}": (lambda row, n=n: NoRepeatedRuns(n), lambda n=n: NoRepeatNGramLogitsProcessor(n))
        for n in (1, 2, 3)
    },
    "bias": (
        lambda row: LogitBias(BIAS, row),
        lambda: SequenceBiasLogitsProcessor([[[token], bias] for token, bias in BIAS]),
    ),
    "bad words": (
        lambda row: BadWords(BAD, ENDS, row),
        lambda: NoBadWordsLogitsProcessor([list(ids) for ids in BAD], eos_token_id=sorted(ENDS)),
    ),
    "endings": (
        lambda row: WithheldEndings(ENDS, PROMPT + 3, row),
        lambda: MinNewTokensLengthLogitsProcessor(PROMPT, 3, sorted(ENDS), device="cpu"),
    ),
}  # fmt: skip


def histories(seed: int) -> list[list[int]]:
    """Returns a prompt, and the same with one more token at a time."""
    generator = random.Random(seed)
    tokens = [generator.randrange(VOCABULARY) for _ in range(PROMPT + 40)]
    return [tokens[:length] for length in range(PROMPT, len(tokens))]


@pytest.mark.parametrize("case", CASES)
def test_every_step_equals_the_class_of_transformers(case: str) -> None:
    make, theirs = CASES[case]
    changed = False
    for seed in range(5):
        ours: RowProcessor | None = None
        for tokens in histories(seed):
            logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(len(tokens))) * 5
            logits[9] = 0.0
            row, late = logits.clone(), logits.clone()
            ours = ours or make(row)
            ours(row, tokens)
            expected = theirs()(torch.tensor([tokens]), logits.clone().unsqueeze(0))[0]
            assert torch.equal(row, expected)
            # One that is made now, as after a resume, knows as much.
            make(late)(late, tokens)
            assert torch.equal(late, expected)
            changed |= not torch.equal(row, logits)
    assert changed


def test_a_run_of_the_longest_size_is_not_repeated() -> None:
    run = list(range(32))
    tokens, row = [*run, 40, *run[:31]], torch.zeros(64)
    NoRepeatedRuns(32)(row, tokens)
    assert row.isinf().nonzero().flatten().tolist() == [31]
    assert torch.equal(row, NoRepeatNGramLogitsProcessor(32)(torch.tensor([tokens]), torch.zeros(1, 64))[0])


@pytest.mark.parametrize(("presence", "frequency"), [(1.5, 0.0), (0.0, 0.5), (-1.0, 2.0), (0.25, -0.125)])
def test_output_penalties_count_generated_tokens_only(presence: float, frequency: float) -> None:
    for seed in range(3):
        ours: OutputPenalties | None = None
        for tokens in histories(seed):
            logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(len(tokens)))
            row, late = logits.clone(), logits.clone()
            ours = ours or OutputPenalties(presence, frequency, PROMPT, row)
            ours(row, tokens)
            counts = torch.bincount(torch.tensor(tokens[PROMPT:], dtype=torch.int64), minlength=VOCABULARY)
            assert torch.allclose(row, logits - presence * (counts > 0) - frequency * counts)
            OutputPenalties(presence, frequency, PROMPT, late)(late, tokens)
            assert torch.equal(late, row)


def test_only_allowed_tokens_keep_their_logits() -> None:
    logits = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(0))
    row = logits.clone()
    AllowedTokens({3, 8, 5}, row)(row, [1])
    assert row.isfinite().nonzero().flatten().tolist() == [3, 5, 8]
    assert torch.equal(row[[3, 5, 8]], logits[[3, 5, 8]])


def test_ids_that_the_model_embeds_and_cannot_generate_are_passed_over() -> None:
    beyond = VOCABULARY + 1
    row = torch.ones(VOCABULARY)
    tokens = [3, beyond, 4, beyond]
    for processor in (
        RepetitionPenalty(2.0, row),
        OutputPenalties(1.0, 1.0, 1, row),
        NoRepeatedRuns(1),
        NoRepeatedRuns(2),
        LogitBias(((beyond, 5.0),), row),
        BadWords(((beyond,), (beyond, beyond)), frozenset(), row),
        AllowedTokens({6, beyond}, row),
        WithheldEndings({beyond}, 99, row),
    ):
        processor(row, tokens)
    assert row[6] == 1.0
    assert row.isfinite().sum() == 1
