"""The answer to a request to a model that is run once, free of torch."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class RequestTimes:
    """Where the time of one request went, in seconds."""

    queue: float
    """From the end of preprocessing until the model starts on the first item."""
    preprocess: float
    compute: float
    total: float


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The result of a request, what it consumed and how long it took."""

    result: T
    times: RequestTimes
    input_tokens: int = 0
    """Input tokens of all items."""
    images: int = 0
    """Input images of all items."""
    audio_seconds: float | None = None
    """Seconds of input audio of all items; None for tasks without audio."""
