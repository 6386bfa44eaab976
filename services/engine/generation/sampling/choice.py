"""Chooses the next tokens of a step's sequences from its logits."""

from dataclasses import dataclass

import torch
from torch import Tensor

from services.engine.generation.requests.request import Likelihood
from services.engine.generation.sampling.beam_search import BeamSearch
from services.engine.generation.sampling.device_choice import UNDECIDED
from services.engine.generation.sampling.likelihood import RawLikelihoods
from services.engine.generation.sampling.sampler import NoToken, sample
from services.engine.generation.sequence import Row, Sequence

Sampled = tuple[int | NoToken, Likelihood | None]
Drawn = list[tuple[Sequence, Sampled]]
"""The sampled tokens of a step, each with its sequence."""


@torch.inference_mode()
def choose(rows: list[Row[Sequence]], logits: Tensor) -> Drawn:
    """Returns a token for each sequence outside of beam searches, and has beam searches choose theirs.

    A row with proposed tokens may have several, in order: one more for each proposed token that is accepted. A call
    may be repeated.

    Args:
        rows: The rows that were run.
        logits: float32 `[n, vocabulary]`, as `Runner.run` returns them; changed in place.
    """
    sequences = [row.sequence for row in rows if row.completes]
    all_logits, further = logits, dict[Sequence, _Further]()
    if len(logits) > len(sequences):
        logits, further = _first_places(rows, logits)
    if any(sequence.branches for sequence in sequences):
        sequences, logits = _spread(sequences, logits)
    if not sequences:
        return []
    drawn = _draw(sequences, logits)
    return drawn + _verify(drawn, further, all_logits) if further else drawn


def follow(rows: list[Row[Sequence]], tokens: list[int], likelihoods: dict[int, Likelihood]) -> Drawn | None:
    """Returns the tokens of a step that the GPU has chosen, up to the first proposed token that is not accepted.

    None where the host must choose a row's first token: the row is noted as undecided then.

    Args:
        rows: The rows that were launched.
        tokens: The token chosen after each of their tokens; see `device_choice`.
        likelihoods: The likelihoods of tokens for which they are asked, by their places.
    """
    drawn, start = Drawn(), 0
    for row in rows:
        first, start = start, start + row.token_count
        own = tokens[first:start]
        right = next((i for i, token in enumerate(row.proposed) if token != own[i]), len(row.proposed))
        found = own[: right + 1]
        if UNDECIDED in found:
            found = found[: found.index(UNDECIDED)]
            row.sequence.leave_undecided(len(found))
            if not found:
                return None
        drawn += [(row.sequence, launched(token, likelihoods.get(first + i))) for i, token in enumerate(found)]
    return drawn


def launched(token: int, likelihood: Likelihood | None) -> Sampled:
    """Returns a token that the GPU has chosen, which must not be UNDECIDED."""
    return (token, likelihood) if token >= 0 else (NoToken.NOT_NUMBERS, None)


@dataclass(frozen=True)
class _Further:
    """Proposed tokens of a sequence, and the places of the logits after them."""

    proposed: tuple[int, ...]
    start: int


def _draw(sequences: list[Sequence], logits: Tensor) -> Drawn:
    raw = RawLikelihoods(logits, sequences)
    tokens = sample(logits, sequences)
    return list(zip(sequences, zip(tokens, raw.of(tokens), strict=True), strict=True))


def _verify(drawn: Drawn, further: dict[Sequence, _Further], logits: Tensor) -> Drawn:
    """Returns the further tokens after those drawn, as long as the drawn ones equal the proposed ones.

    Each is drawn as it would be in a step of its own: from logits after the same tokens, by processors that have seen
    the same tokens, with the draw of its position. So no state has to be rolled back.
    """
    found = Drawn()
    lengths = {sequence: len(sequence.token_ids) for sequence in further}
    place = 0
    try:
        while going := [one for one in drawn if _accepted(one, further, place)]:
            for sequence, (token, _) in going:
                sequence.token_ids.append(int(token))  # type: ignore[arg-type]
            place += 1
            chosen = torch.tensor([further[sequence].start + place for sequence, _ in going], device=logits.device)
            drawn = _draw([sequence for sequence, _ in going], logits[chosen])
            found += drawn
    finally:
        for sequence, length in lengths.items():
            del sequence.token_ids[length:]  # whoever takes the tokens drawn appends them
    return found


def _accepted(drawn: tuple[Sequence, Sampled], further: dict[Sequence, _Further], place: int) -> bool:
    sequence, (token, _) = drawn
    proposed = further[sequence].proposed if sequence in further else ()
    return place < len(proposed) and token == proposed[place]


def _first_places(rows: list[Row[Sequence]], logits: Tensor) -> tuple[Tensor, dict[Sequence, _Further]]:
    """Returns the logits to choose tokens from, and the places of those after proposed tokens.

    Notes the log-probabilities of prompts.
    """
    others: list[int] = []
    further: dict[Sequence, _Further] = {}
    start = 0
    for row in rows:
        if row.proposed:
            further[row.sequence] = _Further(row.proposed, start)
            others.append(start)
        elif row.scored and (scoring := row.sequence.group.scoring):
            scoring.note(row.sequence.computed, logits[start : start + row.scored])
        start += row.scored
        if row.completes:
            others += () if row.proposed else (start,)
            start += 1
    return logits[others], further


def _spread(sequences: list[Sequence], logits: Tensor) -> tuple[list[Sequence], Tensor]:
    """Returns all sequences to sample for, followers included, with the logits of each."""
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
