"""Where a device changes logits and chooses, step behind step, each row gets the token that the sampler gives it."""

import random
from typing import Any

import pytest
import torch

from services.engine.generation.requests.request import OutputRules
from services.engine.generation.sampling.device_changes import LogitChanges, changes_of
from services.engine.generation.sampling.device_choice import (
    NO_TOKEN,
    UNDECIDED,
    choose,
    numbers_of,
    takes,
    takes_as_they_are,
)
from services.engine.generation.sampling.sampler import NoToken, sample
from services.engine.generation.sequence import Sequence
from tests.services.dice import dice
from tests.services.engine.generation.sequences import sequence as sequence_of
from tests.services.structures import regex
from tests.tiny.language_models import END_ID

VOCABULARY, STEPS = 300, 40
EMBEDDED = VOCABULARY + 9
"""Tokens that may be in a prompt: some have no logit."""
SMALLEST = 1.5e-38
"""A penalty by which logits overflow."""
NONE = {NoToken.ALL_FORBIDDEN: UNDECIDED, NoToken.NOT_NUMBERS: NO_TOKEN}


def wished(source: random.Random) -> Sequence:
    """Returns a sequence of a request that wants anything, or nothing."""

    def some(most: int) -> list[int]:
        return source.sample(range(EMBEDDED), source.randrange(1, most))

    kinds: list[dict[str, Any]] = [
        {"repetition_penalty": source.choice([SMALLEST, 0.5, 1.2, 2.0])},
        {"presence_penalty": source.uniform(-2, 2)},
        {"frequency_penalty": source.uniform(-2, 2)},
        {"logit_bias": tuple((token, source.uniform(-5, 5)) for token in some(20))},
        {"bad_words": tuple((token,) for token in some(150))},
        {"min_new_tokens": source.randrange(STEPS + 20), "stop_token_ids": frozenset(some(150))},
        {"allowed_token_ids": tuple(some(40))},
        {"no_repeat_ngram_size": source.randrange(1, 4)},
        {"bad_words": ((4,), *((a, b) for a in some(60) for b in some(60)))},
        {"structure": regex(source.choice(["[a-z ]{300}", "([0-9]+ )*"])), "end_token_ids": frozenset({END_ID})},
    ]
    fields = dict[str, Any]()
    for kind in source.sample(kinds, source.choice([0, 1, 1, 1, 3, 10])):
        fields |= kind
    if source.random() < 0.6:
        # The smallest penalty leaves all others equally unlikely: more than a device looks at.
        most = 0 if fields.get("repetition_penalty") == SMALLEST else source.choice([0, 5, 50])
        fields |= {"temperature": 0.9, "seed": source.randrange(99), "top_k": most}
        fields |= {"typical_p": source.choice([0.05, 0.5, 0.95])} if source.random() < 0.5 else {}
    made = sequence_of([source.randrange(EMBEDDED) for _ in range(source.randrange(1, 30))], **fields)
    if "structure" not in fields:
        made.token_ids += [source.randrange(VOCABULARY) for _ in range(source.randrange(5))]
    return made


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_rows_that_go_on_get_what_the_sampler_gives_them(kind: torch.dtype) -> None:
    source, laid, whole = dice(), 0, 0
    sequences = [wished(source) for _ in range(12)]
    assert all(takes(one) for one in sequences)
    before, changes = None, None
    for _ in range(STEPS):
        logits = (torch.randn(len(sequences), VOCABULARY) * 3).to(kind)
        if source.random() < 0.1:
            logits[source.randrange(len(sequences)), 5] = torch.nan
        if before is None or changes is None or not changes.steps:
            sources = None if before is None else [*range(len(sequences))]
            changes, laid = changes_of(sequences, sources, VOCABULARY, torch.device("cpu")), laid + 1
            if changes and before is not None:
                changes.begin(before)
        else:
            changes.go_on(before)
        chosen, numbers = begun(logits, sequences, further=before is not None)
        if before is not None:
            for sequence, token in zip(sequences, before.tolist(), strict=True):
                sequence.token_ids.append(token)
        found = changed(logits, chosen, numbers, changes)
        expected = sample(logits.float(), sequences)
        assert found.tolist() == [NONE[one] if isinstance(one, NoToken) else one for one in expected]
        # Of a row that has none any token is behind it.
        before = found.where(found >= 0, source.randrange(VOCABULARY))
        whole += sum(isinstance(one, int) for one in expected)
    assert laid < STEPS / 2
    assert whole > STEPS * len(sequences) / 4


def begun(
    logits: torch.Tensor, sequences: list[Sequence], *, further: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns the tokens of a step as they are chosen at once, and by what."""
    chosen = logits.max(dim=-1).indices.masked_fill(logits.isnan().any(dim=-1), NO_TOKEN)
    drawn = numbers_of(sequences, [int(further)] * len(sequences))
    numbers = None if drawn is None else torch.from_numpy(drawn)
    if numbers is not None:
        chosen = choose(logits, chosen, numbers)
    return chosen, numbers


def changed(
    logits: torch.Tensor, chosen: torch.Tensor, numbers: torch.Tensor | None, changes: LogitChanges | None
) -> torch.Tensor:
    """Returns the tokens of a step; where more is drawn than a device looks at nothing is."""
    if changes is not None:
        changes.choose(logits, chosen, numbers)
    return chosen


@pytest.mark.parametrize(
    ("fields", "by_device", "as_they_are"),
    [
        ({"temperature": 1.0, "top_p": 0.5}, True, True),
        ({"temperature": 0.0, "typical_p": 0.5}, True, True),
        ({"min_new_tokens": 5}, True, True),  # there is nothing to withhold
        ({"min_new_tokens": 5, "stop_token_ids": frozenset({7})}, True, False),
        ({"bad_words": ((5,), (6, 7))}, True, False),
        ({"no_repeat_ngram_size": 2}, True, False),
        ({"structure": regex("a")}, True, False),
        ({"structure": regex("a"), "rules": OutputRules(suppressed_token_ids=(7,))}, False, False),
        ({"temperature": 1.0, "typical_p": 0.5}, True, False),
        ({"logprob_count": 0}, True, True),
    ],
)
def test_it_is_known_what_a_device_can_do(fields: dict[str, Any], by_device: bool, as_they_are: bool) -> None:
    made = sequence_of([5, 6], **fields)
    assert (takes(made), takes_as_they_are(made)) == (by_device, as_they_are)


def test_few_allowed_tokens_are_decided_on_the_device() -> None:
    made, logits = sequence_of([5], temperature=1.0, top_k=50, allowed_token_ids=(3, 4, 9)), torch.zeros(1, 5000)
    changes = changes_of([made], None, 5000, torch.device("cpu"))
    assert changed(logits, *begun(logits, [made], further=False), changes).tolist() in ([3], [4], [9])
