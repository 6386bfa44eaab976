"""What is known of one call while it is relayed."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter

from sensorium.v1.common_pb2 import Usage

QUEUE = "queue"
BEFORE_FIRST_MESSAGE = "before_first_message"
BEFORE_FIRST_TOKEN = "before_first_token"  # noqa: S105 - not a password
STREAMING = "streaming"
PHASES = (QUEUE, BEFORE_FIRST_MESSAGE, BEFORE_FIRST_TOKEN, STREAMING)
"""How far a call has come."""


@dataclass(slots=True)
class Call:
    """One call; times are on the clock of `perf_counter`."""

    model: str = ""
    phase: str = BEFORE_FIRST_MESSAGE
    begun: float = field(default_factory=perf_counter)
    first_token: float = 0.0
    """When the first generated output was relayed; 0 while none was."""
    last_message: float = 0.0
    """When the last message of a stream that ended was relayed; 0 before."""
    usage: Usage | None = None
    """What the endpoint says the call consumed, once it has."""

    @property
    def tokens(self) -> int:
        """Tokens read and generated, as far as told."""
        return self.usage.input_token_count + self.usage.output_token_count if self.usage is not None else 0

    def seconds_per_token(self) -> float | None:
        """Returns the mean time of tokens behind the first; None where there are none, or no stream showed them."""
        behind = self.usage.output_token_count - 1 if self.usage is not None else 0
        if behind < 1 or not self.first_token or not self.last_message:
            return None
        return (self.last_message - self.first_token) / behind


CALL: ContextVar[Call] = ContextVar("call")
"""The call that the current task relays."""
