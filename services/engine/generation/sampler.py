"""One token per row from its logits; greedy and sampled rows mixed in one batch."""

import numpy as np
import torch
from torch import Tensor

from services.engine.generation.draws import uniform
from services.engine.generation.request import SamplingParameters
from services.engine.generation.sequence import Sequence

_NEVER = float("-inf")
_SMALLEST = torch.finfo(torch.float32).tiny
_LARGEST = torch.finfo(torch.float32).max


def sample(logits: Tensor, sequences: list[Sequence]) -> list[int | None]:
    """Returns one token id per row, or None where the model computed no usable logits (NaN or infinity).

    Args:
        logits: float32 `[rows, vocabulary]`; changed in place.
        sequences: The sequence of each row; its parameters, output count and tokens are read.

    Steps and their order are those of transformers' `generate`, so that an equal distribution is drawn from.
    """
    for row, sequence in zip(logits, sequences, strict=True):
        penalize_repetition(row, sequence)
        withhold_endings(row, sequence)
    best = logits.max(dim=-1)
    usable = torch.isfinite(best.values).tolist()
    tokens: list[int] = best.indices.tolist()
    sampled = [i for i, sequence in enumerate(sequences) if usable[i] and not sequence.request.sampling.greedy]
    if sampled:
        drawn = draw(logits[sampled], [sequences[i] for i in sampled])
        for i, token in zip(sampled, drawn, strict=True):
            tokens[i] = token
    return [token if fine else None for token, fine in zip(tokens, usable, strict=True)]


def penalize_repetition(row: Tensor, sequence: Sequence) -> None:
    """Makes tokens of the prompt and the output less likely, `[vocabulary]` in place."""
    penalty = sequence.request.sampling.repetition_penalty
    if penalty != 1.0:
        seen = torch.tensor(sorted(set(sequence.token_ids)), device=row.device)
        values = row[seen]
        # The smallest penalties overflow; that must not look like a model that computed infinity.
        row[seen] = torch.where(values < 0, values * penalty, (values / penalty).clamp(max=_LARGEST))


def withhold_endings(row: Tensor, sequence: Sequence) -> None:
    """Forbids ending tokens until `min_new_tokens` others were generated, `[vocabulary]` in place."""
    stopping = sequence.request.stopping
    if sequence.output_count < stopping.min_new_tokens and stopping.ending_ids:
        row[torch.tensor(sorted(stopping.ending_ids), device=row.device)] = _NEVER


def draw(logits: Tensor, sequences: list[Sequence]) -> list[int]:
    """Draws a token for each row, all of which sample, by inverting the cumulative distribution at a keyed draw."""
    parameters = [sequence.request.sampling for sequence in sequences]
    temperature = torch.tensor([p.temperature for p in parameters], device=logits.device).unsqueeze(1)
    # The highest logit becomes 0, so that the smallest temperatures overflow to minus infinity, which is right, and
    # never to infinity, which would leave no distribution.
    highest = logits.max(dim=-1, keepdim=True).values
    scaled = truncate((logits - highest) / temperature.clamp(min=_SMALLEST), parameters)
    # In float64, since rounding a cumulative sum over a large vocabulary in float32 would move its borders.
    cumulative = torch.softmax(scaled.double(), dim=-1).cumsum(dim=-1)
    draws = uniform([p.seed for p in parameters], [sequence.output_count for sequence in sequences])
    target = torch.from_numpy(draws).to(cumulative.device).unsqueeze(1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True).squeeze(1).tolist()


def truncate(logits: Tensor, parameters: list[SamplingParameters]) -> Tensor:
    """Returns the logits `[rows, vocabulary]` with minus infinity where top-k, top-p or min-p exclude a token."""
    if not any(p.top_k or p.top_p < 1 or p.min_p for p in parameters):
        return logits
    vocabulary = logits.shape[1]

    def column(values: list[float]) -> Tensor:
        return torch.from_numpy(np.array(values)).to(logits.device).unsqueeze(1)

    ordered, order = torch.sort(logits, dim=-1, descending=True, stable=True)
    # All tokens as likely as the last of the k stay too: which of them came first would be chance.
    last = column([min(p.top_k or vocabulary, vocabulary) - 1 for p in parameters])
    keep = ordered >= ordered.gather(1, last)
    ordered = ordered.masked_fill(~keep, _NEVER)
    probabilities = torch.softmax(ordered.double(), dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    # A token stays while those before it have not reached top_p; 1 keeps all, whatever the rounding of the sum.
    top_p = column([p.top_p if p.top_p < 1 else 2.0 for p in parameters])
    keep &= (before < top_p) & (probabilities >= column([p.min_p for p in parameters]) * probabilities[:, :1])
    keep[:, 0] = True
    return logits.masked_fill(~torch.zeros_like(keep).scatter(1, order, keep), _NEVER)
