"""Constraints and biases of logits. Each object belongs to one sequence, as penalties do."""

from collections import defaultdict
from collections.abc import Collection

import torch
from torch import Tensor

from services.engine.generation.sampling.penalties import known_tokens

_NEVER = float("-inf")


class LogitBias:
    """Adds to the logits of some tokens, as SequenceBiasLogitsProcessor for sequences of one token."""

    def __init__(self, biases: tuple[tuple[int, float], ...], row: Tensor) -> None:
        fitting = [(token_id, bias) for token_id, bias in biases if token_id < len(row)]
        self._ids = torch.tensor([token_id for token_id, _ in fitting], dtype=torch.int64, device=row.device)
        self._biases = torch.tensor([bias for _, bias in fitting], dtype=row.dtype, device=row.device)

    def __call__(self, row: Tensor, _token_ids: list[int]) -> None:
        """Adds the biases."""
        row[self._ids] += self._biases


class NoRepeatedRuns:
    """Forbids tokens that would complete a run of `size` tokens for a second time, as NoRepeatNGramLogitsProcessor."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0  # tokens that end a run which was noted, or that begin none
        self._followers: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Forbids the tokens that followed the last ones earlier."""
        if completing := self.completing(token_ids):
            row[known_tokens(completing, row)] = _NEVER

    def completing(self, token_ids: list[int]) -> list[int]:
        """Returns the tokens that followed the last ones earlier."""
        before = self._size - 1
        for i in range(max(self._taken, before), len(token_ids)):
            self._followers[tuple(token_ids[i - before : i])].add(token_ids[i])
        self._taken = len(token_ids)
        suffix = tuple(token_ids[len(token_ids) - before :])
        return list(self._followers.get(suffix, ()))


class BadWords:
    """Forbids the last token of each sequence of tokens behind all before it, as NoBadWordsLogitsProcessor.

    As there, one that consists of an end of sequence alone forbids nothing.
    """

    def __init__(self, sequences: Collection[tuple[int, ...]], end_token_ids: frozenset[int], row: Tensor) -> None:
        single = sorted({ids[0] for ids in sequences if len(ids) == 1} - end_token_ids)
        self._single = known_tokens(single, row)
        # By the last token before the forbidden one, so that a step looks at few.
        self._longer: defaultdict[int, list[tuple[int, ...]]] = defaultdict(list)
        for ids in set(sequences):
            if len(ids) > 1:
                self._longer[ids[-2]].append(ids)

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Forbids the tokens that would complete a sequence."""
        row[self._single] = _NEVER
        if completing := self.completing(token_ids):
            row[known_tokens(completing, row)] = _NEVER

    @property
    def several(self) -> bool:
        """Whether any sequence has several tokens."""
        return bool(self._longer)

    def completing(self, token_ids: list[int]) -> list[int]:
        """Returns the last tokens of the sequences whose others stand at the end."""
        candidates = self._longer.get(token_ids[-1], ())
        return [ids[-1] for ids in candidates if tuple(token_ids[-(len(ids) - 1) :]) == ids[:-1]]


class AllowedTokens:
    """Forbids all tokens that are not allowed."""

    def __init__(self, allowed: Collection[int], row: Tensor) -> None:
        self._forbidden = torch.ones_like(row, dtype=torch.bool)
        self._forbidden[known_tokens(list(allowed), row)] = False

    def __call__(self, row: Tensor, _token_ids: list[int]) -> None:
        """Forbids all others."""
        row.masked_fill_(self._forbidden, _NEVER)


class WithheldEndings:
    """Forbids ending tokens until `min_new_tokens` others were generated, as MinNewTokensLengthLogitsProcessor."""

    def __init__(self, ending_ids: Collection[int], until: int, row: Tensor) -> None:
        self._ending_ids = known_tokens(sorted(ending_ids), row)
        self._until = until

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Forbids the endings if it is too early."""
        if len(token_ids) < self._until:
            row[self._ending_ids] = _NEVER
