"""Rules of a model's generation configuration. Each object belongs to one sequence, as penalties do."""

from collections import defaultdict
from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from services.engine.generation.requests.request import GenerationRequest
from services.engine.generation.sampling.penalties import RowProcessor, known_tokens
from services.engine.generation.sampling.timestamp_order import TimestampOrder

_NEVER = float("-inf")


def source_processors(request: GenerationRequest, row: Tensor) -> Iterator[RowProcessor]:
    """Yields the rules that relate the output to the input: an encoder's source, or the prompt."""
    if request.source_token_ids and request.media is not None:
        return  # the encoder reads a recording or an image, and its tokens only stand for that
    rules, source = request.sampling.rules, request.source_token_ids or request.prompt_token_ids
    if rules.source_repetition_penalty != 1.0:
        yield SourceRepetition(rules.source_repetition_penalty, source, row)
    if rules.source_no_repeat_ngram_size:
        yield NoRunsOfSource(rules.source_no_repeat_ngram_size, source)


def forcing_processors(request: GenerationRequest, row: Tensor) -> Iterator[RowProcessor]:
    """Yields the rules for certain positions, in the order of `generate`.

    They come after the caller's constraints, which cannot forbid, for example, the token of a translation's language.
    """
    rules, stopping, prompt_count = request.sampling.rules, request.stopping, len(request.prompt_token_ids)
    if rules.first_token_id is not None and request.forced_count:
        yield ForcedTokens((rules.first_token_id,), prompt_count, row)
    # A structured text that is cut by its length does not end there.
    if rules.last_token_ids and stopping.end_token_ids and not request.structure:
        yield ForcedTokens(rules.last_token_ids, prompt_count + stopping.max_new_tokens - 1, row)
    if rules.suppressed_token_ids:
        yield SuppressedTokens(rules.suppressed_token_ids, None, row)
    if rules.suppressed_first_token_ids:
        yield SuppressedTokens(rules.suppressed_first_token_ids, prompt_count + request.forced_count, row)
    if rules.timestamps is not None:  # the last, as it weighs what the others have left
        yield TimestampOrder(rules.timestamps, prompt_count)


class ForcedTokens:
    """Allows only some tokens, all equally likely, at one position: Forced{BOS,EOS}TokenLogitsProcessor."""

    def __init__(self, ids: Collection[int], place: int, row: Tensor) -> None:
        """`place` is the position, counted from the start of the prompt."""
        self._ids = known_tokens(list(ids), row)
        self._place = place

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Forces the tokens if this is the place."""
        if len(token_ids) == self._place:
            row.fill_(_NEVER)
            row[self._ids] = 0.0


class SuppressedTokens:
    """Forbids tokens everywhere, or at one position: SuppressTokens{,AtBegin}LogitsProcessor."""

    def __init__(self, ids: Collection[int], place: int | None, row: Tensor) -> None:
        self._ids = known_tokens(list(ids), row)
        self._place = place

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Forbids the tokens if this is the place."""
        if self._place is None or len(token_ids) == self._place:
            row[self._ids] = _NEVER


class SourceRepetition:
    """Makes tokens of the input likelier by a penalty above 1: EncoderRepetitionPenaltyLogitsProcessor."""

    def __init__(self, penalty: float, source: Collection[int], row: Tensor) -> None:
        self._penalty = penalty
        self._ids = known_tokens(sorted(set(source)), row)

    def __call__(self, row: Tensor, _token_ids: list[int]) -> None:
        """Changes the row."""
        scores = row[self._ids]
        row[self._ids] = torch.where(scores < 0, scores / self._penalty, scores * self._penalty)


class NoRunsOfSource:
    """Forbids tokens that would complete a run of `size` tokens of the input: EncoderNoRepeatNGramLogitsProcessor."""

    def __init__(self, size: int, source: tuple[int, ...]) -> None:
        self._before = size - 1
        self._followers: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for i in range(self._before, len(source)):
            self._followers[source[i - self._before : i]].append(source[i])

    def __call__(self, row: Tensor, token_ids: list[int]) -> None:
        """Forbids the tokens that follow the last ones in the input."""
        if len(token_ids) >= self._before:
            last = tuple(token_ids[len(token_ids) - self._before :])
            row[known_tokens(self._followers.get(last, []), row)] = _NEVER
