"""The tokens that a model generated for one window, with their log-probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Completed, Delta, GenerationTimes


@dataclass(frozen=True)
class WindowReading:
    """One candidate's tokens, without the end-of-sequence token, and their log-probabilities."""

    tokens: Sequence[int]
    log_probabilities: Sequence[float]
    generated: int
    """Number of generated tokens, the end-of-sequence token included."""
    cut: bool | None = None
    """Whether a limit ended it, and no end-of-sequence token; None for models that write as long as they hear."""


@dataclass(frozen=True)
class WindowReadings:
    """The candidates for a window, best first if ranked, and what the decoder log_probabilities besides."""

    candidates: Sequence[WindowReading]
    start: Tensor
    """Log-probabilities `[vocabulary]` of the token after the start-of-transcript token."""
    attention: Sequence[Tensor]
    """Cross-attention weights of each alignment head if requested, `[prompt tokens, frames]`."""
    queue: float
    compute: float
    """In seconds."""


async def read_candidates(
    stream: GenerationStream, end_token_ids: frozenset[int]
) -> tuple[list[WindowReading], GenerationTimes]:
    """Reads a stream to its end and returns its candidates and times. Its tokens must have log-probabilities."""
    found: dict[int, list[Delta]] = {}
    completed: Completed | None = None
    try:
        async for event in stream.whole():
            if isinstance(event, Delta):
                found.setdefault(event.candidate_index, []).append(event)
            elif isinstance(event, Completed):
                completed = event
    finally:
        stream.cancel()
    assert completed is not None
    return [_reading(found.get(i, []), end_token_ids) for i in range(len(completed.finishes))], completed.times


def _reading(deltas: Sequence[Delta], end_token_ids: frozenset[int]) -> WindowReading:
    tokens = [token for delta in deltas for token in delta.token_ids]
    log_probabilities: list[Any] = [entry.logprob for delta in deltas for entry in delta.logprobs]
    ended = bool(tokens) and tokens[-1] in end_token_ids
    kept = len(tokens) - ended
    likelihoods = [max(value, -math.inf) for value in log_probabilities[:kept]]
    return WindowReading(tokens[:kept], likelihoods, len(tokens), cut=not ended)
