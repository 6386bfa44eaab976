"""From a step's logits to what each of its sequences goes on with."""

import torch
from torch import Tensor

from services.engine.generation.beam_search import BeamSearch
from services.engine.generation.likelihood import RawLikelihoods
from services.engine.generation.request import Likelihood
from services.engine.generation.sampler import NoToken, sample
from services.engine.generation.sequence import Row, Sequence

Sampled = tuple[int | NoToken, Likelihood | None]


@torch.inference_mode()
def choose(rows: list[Row[Sequence]], logits: Tensor) -> list[tuple[Sequence, Sampled]]:
    """Returns a token for each sequence that goes on by itself, and lets beam searches choose theirs.

    Changes nothing that hinders a repetition.

    Args:
        rows: What was run.
        logits: float32 `[n, vocabulary]`, as `Runner.run` returns them; changed in place.
    """
    sequences = [row.sequence for row in rows if row.completes]
    if len(logits) > len(sequences):
        logits = _score_prompts(rows, logits)
    if any(sequence.branches for sequence in sequences):
        sequences, logits = _spread(sequences, logits)
    if not sequences:
        return []
    raw = RawLikelihoods(logits, sequences)
    tokens = sample(logits, sequences)
    return list(zip(sequences, zip(tokens, raw.of(tokens), strict=True), strict=True))


def _score_prompts(rows: list[Row[Sequence]], logits: Tensor) -> Tensor:
    """Notes the likelihood of prompts and returns the other logits, from which tokens are chosen."""
    others: list[int] = []
    start = 0
    for row in rows:
        if row.scored and (scoring := row.sequence.group.scoring):
            scoring.note(row.sequence.computed, logits[start : start + row.scored])
        start += row.scored
        if row.completes:
            others.append(start)
            start += 1
    return logits[others]


def _spread(sequences: list[Sequence], logits: Tensor) -> tuple[list[Sequence], Tensor]:
    """Returns the sequences to sample for, candidates that begin alike among them, with the logits of each."""
    sampled: list[Sequence] = []
    rows: list[int] = []
    searches: dict[BeamSearch, None] = {}
    for i, sequence in enumerate(sequences):
        if search := sequence.group.search:
            if not sequence.followers:
                sequence.logits = logits[i]
                searches[search] = None
            continue
        for one in (sequence, *sequence.followers):
            # Those that have more tokens, from before an interruption, compute these first.
            if not one.tail and len(one.token_ids) == len(sequence.token_ids) and not one.output.finish:
                sampled.append(one)
                rows.append(i)
    for search in searches:
        if search.ready:
            search.choose()
    return sampled, logits[rows]
