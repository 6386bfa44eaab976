"""How likely the model found tokens, before anything a request asks for has changed its logits."""

import torch
from torch import Tensor

from services.engine.generation.requests.request import Likelihood
from services.engine.generation.sampling.sampler import NoToken
from services.engine.generation.sequence import Sequence

_BLOCK = 4
"""Rows worked on at once. Over many, a large vocabulary leaves the processor's caches: 64 rows took twice as long."""


def likelihoods(logits: Tensor, token_ids: list[int], counts: list[int]) -> list[Likelihood]:
    """Returns how likely each row of `logits` `[rows, vocabulary]` makes its token, with `count` likeliest others."""
    found: list[Likelihood] = []
    for start in range(0, len(token_ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        found += _likelihoods(logits[block], token_ids[block], counts[block])
    return found


def _likelihoods(logits: Tensor, token_ids: list[int], counts: list[int]) -> list[Likelihood]:
    chosen = torch.tensor(token_ids, device=logits.device).unsqueeze(1)
    logprobs = torch.log_softmax(logits, dim=-1)
    # By the logits, of which fewer are equal.
    ranks = (logits > logits.gather(1, chosen)).sum(dim=-1, dtype=torch.int32) + 1
    likeliest = logits.topk(min(max(counts), logits.shape[1]), dim=-1).indices
    rows = zip(
        logprobs.gather(1, chosen).squeeze(1).tolist(),
        ranks.tolist(),
        likeliest.tolist(),
        logprobs.gather(1, likeliest).tolist(),
        counts,
        strict=True,
    )
    return [
        Likelihood(logprob, rank, tuple(zip(others, values, strict=True))[:count])
        for logprob, rank, others, values, count in rows
    ]


class RawLikelihoods:
    """Keeps a step's logits as the model computed them, for the rows whose requests ask for log-probabilities."""

    def __init__(self, logits: Tensor, sequences: list[Sequence]) -> None:
        """Takes float32 logits `[rows, vocabulary]` and the sequence of each row."""
        self._counts = [sequence.request.logprob_count for sequence in sequences]
        self._asking = [i for i, count in enumerate(self._counts) if count is not None]
        self._logits = logits[self._asking] if self._asking else None  # a copy

    def of(self, tokens: list[int | NoToken]) -> list[Likelihood | None]:
        """Returns the likelihood of each row's token; None where none was asked for or none was sampled."""
        found: list[Likelihood | None] = [None] * len(tokens)
        if self._logits is None:
            return found
        ids = [token if isinstance(token := tokens[i], int) else 0 for i in self._asking]
        counts = [self._counts[i] or 0 for i in self._asking]
        for i, likelihood in zip(self._asking, likelihoods(self._logits, ids, counts), strict=True):
            if not isinstance(tokens[i], NoToken):
                found[i] = likelihood
        return found
