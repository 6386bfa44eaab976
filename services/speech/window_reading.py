"""What a model wrote of one window."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


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
