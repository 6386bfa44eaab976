"""What a model wrote of one window."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Completed, Delta, GenerationTimes


@dataclass(frozen=True)
class WindowReading:
    """One candidate's tokens, without the end of sequence, and how likely the model found each."""

    tokens: Sequence[int]
    log_probabilities: Sequence[float]
    generated: int
    """Tokens, the end of sequence included."""


@dataclass(frozen=True)
class WindowReadings:
    """Candidates, best first where they are ranked; and what was noted on the way."""

    candidates: Sequence[WindowReading]
    start: Tensor
    """Log-probabilities of what comes behind the token that begins every output, `[vocabulary]`."""
    attention: Sequence[Tensor]
    """Of alignment heads, if asked for: `[prompt tokens, frames]`."""
    queue: float
    compute: float
    """In seconds."""


async def read_candidates(
    stream: GenerationStream, end_token_ids: frozenset[int]
) -> tuple[list[WindowReading], GenerationTimes]:
    """Reads a stream whose tokens come with their log-probabilities to its end, and returns what it took besides."""
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
    told: list[Any] = [entry.logprob for delta in deltas for entry in delta.logprobs]
    ended = bool(tokens) and tokens[-1] in end_token_ids
    kept = len(tokens) - ended
    return WindowReading(tokens[:kept], [max(value, -math.inf) for value in told[:kept]], len(tokens))
