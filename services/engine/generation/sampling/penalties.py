"""Penalties on tokens of a sequence's past. Each object belongs to one sequence and follows its growing tokens.

Its state is derived from the tokens alone and extended by new ones, so that preemption and resuming change nothing and
the cost of a step does not grow with the length.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_LARGEST = torch.finfo(torch.float32).max

RowProcessor = Callable[[Tensor, list[int]], None]
"""Changes the float32 logits `[vocabulary]` of one row in place; takes all tokens of its sequence, the prompt's first.
"""


def known_tokens(token_ids: list[int], row: Tensor) -> Tensor:
    """Returns the ids that `row` has a logit for; some models embed more tokens than they generate."""
    ids = torch.tensor(token_ids, dtype=torch.int64)
    return ids[ids < len(row)].to(row.device)


class RepetitionPenalty:
    """Divides positive and multiplies negative logits of all tokens seen, as RepetitionPenaltyLogitsProcessor."""

    def __init__(self, penalty: float, row: Tensor) -> None:
        self._penalty = penalty
        self._factors = torch.ones_like(row)  # the penalty for tokens seen, else 1
        self._taken = 0

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Penalizes the row."""
        self._factors[known_tokens(token_ids[self._taken :], row)] = self._penalty
        self._taken = len(token_ids)
        # Of product and quotient, the lower is the one that is meant where the penalty is above 1, whatever the sign.
        if self._penalty > 1:
            torch.minimum(row * self._factors, row / self._factors, out=row)
        else:
            # The smallest penalties overflow; that must not look like a model that computed infinity.
            torch.maximum(row * self._factors, row / self._factors, out=row).clamp_(max=_LARGEST)


class OutputPenalties:
    """Subtracts from the logits of generated tokens: once for presence, and per occurrence for frequency."""

    def __init__(self, presence: float, frequency: float, prompt_count: int, row: Tensor) -> None:
        self._presence = presence
        self._frequency = frequency
        self._counts = torch.zeros_like(row)
        self._subtracted = torch.zeros_like(row)
        self._taken = prompt_count

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Penalizes the row."""
        new = known_tokens(token_ids[self._taken :], row)
        self._taken = len(token_ids)
        if len(new):
            self._counts.index_add_(0, new, torch.ones_like(new, dtype=torch.float32))
            self._subtracted[new] = self._presence + self._frequency * self._counts[new]
        row -= self._subtracted
