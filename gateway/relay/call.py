"""The record of one call while it is relayed: model, phase, times and usage."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter

from sensorium.v1.common_pb2 import Usage

QUEUE = "queue"
BEFORE_FIRST_MESSAGE = "before_first_message"
BEFORE_FIRST_TOKEN = "before_first_token"  # noqa: S105 - not a password
STREAMING = "streaming"
PHASES = (QUEUE, BEFORE_FIRST_MESSAGE, BEFORE_FIRST_TOKEN, STREAMING)
"""The phases of a call, in order."""


@dataclass(slots=True)
class Call:
    """One call. Times are seconds of `perf_counter`."""

    model: str = ""
    phase: str = BEFORE_FIRST_MESSAGE
    begun: float = field(default_factory=perf_counter)
    first_token: float = 0.0
    """When the first delta was relayed; 0 before."""
    last_message: float = 0.0
    """When the last message of a completed stream was relayed; 0 before."""
    usage: Usage | None = None
    """What the call consumed, as the endpoint reports at its end."""

    @property
    def tokens(self) -> int:
        """Input plus output tokens; 0 if the endpoint reported none."""
        return self.usage.input_token_count + self.usage.output_token_count if self.usage is not None else 0

    def seconds_per_token(self) -> float | None:
        """Returns the mean seconds per output token after the first; None without a stream of two or more tokens."""
        later_tokens = self.usage.output_token_count - 1 if self.usage is not None else 0
        if later_tokens < 1 or not self.first_token or not self.last_message:
            return None
        return (self.last_message - self.first_token) / later_tokens


CALL: ContextVar[Call] = ContextVar("call")
"""The call that the current asyncio task relays."""
