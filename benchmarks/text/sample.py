"""The record of one request."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prompt:
    """A request's input, the same for every system: token ids, or the text that tokenizes to them."""

    token_ids: tuple[int, ...]
    new_tokens: int


@dataclass
class RequestSample:
    """One request as its caller saw it. Times are seconds on one monotonic clock."""

    sent: float
    arrivals: list[float] = field(default_factory=list)
    """Arrival time of each generated token. Tokens of one message share a time."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    """As counted by the system itself."""
    error: str = ""

    @property
    def first_token_seconds(self) -> float:
        """Time to first token, from sending."""
        return self.arrivals[0] - self.sent

    def gaps(self) -> list[tuple[float, float]]:
        """Returns (end, length) of every pause between tokens; the length is 0 within a message."""
        return [(after, after - before) for before, after in zip(self.arrivals, self.arrivals[1:], strict=False)]
