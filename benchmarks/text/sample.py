"""What is written down of one request."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prompt:
    """A request's input: the same for every system, as ids or as the text that comes to them."""

    token_ids: tuple[int, ...]
    new_tokens: int


@dataclass
class RequestSample:
    """One request as its caller saw it; all times in seconds on one monotonic clock."""

    sent: float
    arrivals: list[float] = field(default_factory=list)
    """When each generated token arrived. Tokens that came in one piece share a time."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    """By the system's own count."""
    error: str = ""

    @property
    def first_token_seconds(self) -> float:
        """From sending to the first token."""
        return self.arrivals[0] - self.sent

    def gaps(self) -> list[tuple[float, float]]:
        """Returns (end, length) of every pause between tokens, 0 within a piece."""
        return [(after, after - before) for before, after in zip(self.arrivals, self.arrivals[1:], strict=False)]
