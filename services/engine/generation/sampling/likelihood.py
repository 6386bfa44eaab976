"""The model's log-probabilities of tokens, from logits before any parameter of the request has changed them."""

from collections.abc import Sequence as Rows
from itertools import islice

import torch
from torch import Tensor

from services.engine.generation.requests.request import Likelihood
from services.engine.generation.requests.validation import MAX_LOGPROB_COUNT
from services.engine.generation.sampling.sampler import NoToken
from services.engine.generation.sequence import Sequence

_BLOCK = 4
"""Rows computed at once. More would not fit into the processor's caches: 64 rows took twice as long."""


def likelihoods(logits: Tensor, token_ids: list[int], counts: list[int]) -> list[Likelihood]:
    """Returns how likely each row of `logits` `[rows, vocabulary]` makes its token, with `count` likeliest others."""
    found: list[Likelihood] = []
    for start in range(0, len(token_ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        chosen = torch.tensor(token_ids[block], device=logits.device)
        found += told(measured(logits[block], chosen, others=any(counts[block])), counts[block])
    return found


def measured(logits: Tensor, chosen: Tensor, *, others: bool) -> Tensor:
    """Returns what `told` takes. Asks the device for nothing.

    Args:
        logits: float32 `[rows, vocabulary]`.
        chosen: Tokens, int64 `[rows]`.
        others: Whether more is told than how likely these are.
    """
    chosen, logprobs = chosen.unsqueeze(1), torch.log_softmax(logits, dim=-1)
    # By the logits, of which fewer are equal.
    ranks = (logits > logits.gather(1, chosen)).sum(dim=-1, keepdim=True) + 1
    parts = [logprobs.gather(1, chosen), ranks]
    if others:
        # As many for everybody: which of equal ones comes first depends on how many are asked for.
        likeliest = logits.topk(min(MAX_LOGPROB_COUNT, logits.shape[1]), dim=-1).indices
        parts += [likeliest, logprobs.gather(1, likeliest)]
    return torch.cat([part.double() for part in parts], dim=1)


def told(measures: Tensor, counts: Rows[int]) -> list[Likelihood]:
    """Returns the likelihood of each row, with `count` likeliest others."""
    found: list[Likelihood] = []
    for (logprob, rank, *others), count in zip(measures.tolist(), counts, strict=True):
        half = len(others) // 2
        likeliest = zip(map(int, others[:half]), others[half:], strict=True)
        found.append(Likelihood(logprob, int(rank), tuple(islice(likeliest, count))))
    return found


class RawLikelihoods:
    """Copies a step's logits, before they are changed, for the rows whose requests ask for log-probabilities."""

    def __init__(self, logits: Tensor, sequences: list[Sequence]) -> None:
        """Takes float32 logits `[rows, vocabulary]` and the sequence of each row."""
        self._counts = [sequence.request.logprob_count for sequence in sequences]
        self._asking = [i for i, count in enumerate(self._counts) if count is not None]
        self._logits = logits[self._asking] if self._asking else None  # a copy

    def of(self, tokens: list[int | NoToken]) -> list[Likelihood | None]:
        """Returns the likelihood of each row's token; None where it was not asked for or no token was sampled."""
        found: list[Likelihood | None] = [None] * len(tokens)
        if self._logits is None:
            return found
        ids = [token if isinstance(token := tokens[i], int) else 0 for i in self._asking]
        counts = [self._counts[i] or 0 for i in self._asking]
        for i, likelihood in zip(self._asking, likelihoods(self._logits, ids, counts), strict=True):
            if not isinstance(tokens[i], NoToken):
                found[i] = likelihood
        return found
