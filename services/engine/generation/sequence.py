"""One request while it lives in the engine's thread."""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from services.engine.generation.output import OutputBuilder
from services.engine.generation.penalties import RowProcessor
from services.engine.generation.request import GenerationRequest, GenerationTimes
from services.engine.generation.stream import GenerationStream

PRIORITY_SECONDS = 5.0
"""A request goes before those of one priority less that came up to this much earlier; so nobody waits for ever."""


@dataclass(eq=False)
class CachedTokens:
    """Tokens, and the part of them whose keys and values are in the cache."""

    token_ids: list[int]
    pages: list[int] = field(default_factory=list[int])
    computed: int = 0
    """Tokens, from the first, that are in the cache."""
    prompt_count: int = 0
    """Tokens, from the first, that were not generated."""
    source_ids: tuple[int, ...] = ()
    """What an encoder has read before the first of them; empty where there is no encoder."""
    source_pages: list[int] = field(default_factory=list[int])
    state: Any = None
    """The model's own cache, where a runner keeps one. Nobody else looks inside, and it goes when the pages go."""

    @property
    def remaining(self) -> int:
        """Tokens to compute before the next one can be sampled."""
        return len(self.token_ids) - self.computed


class Sequence(CachedTokens):
    """A request with its tokens, its pages and its times. Times are seconds on the engine's clock."""

    def __init__(
        self, request: GenerationRequest, output: OutputBuilder, stream: GenerationStream, arrival: float
    ) -> None:
        super().__init__(
            [*request.prompt_token_ids, *request.delivered_token_ids],
            prompt_count=len(request.prompt_token_ids),
            source_ids=request.source_token_ids,
        )
        self.request = request
        self.output = output
        self.stream = stream
        self.arrival = arrival
        self.first_scheduled: float | None = None
        self.first_output: float | None = None
        self.cached_count: int | None = None
        """Tokens of the prompt that were in the cache already; None before the first admission."""
        self.ended = False
        self.processors: tuple[RowProcessor, ...] | None = None
        """What its penalties and constraints remember. Made by the sampler with the first token."""

    @property
    def order(self) -> float:
        """Sorts sequences: the lower goes first."""
        return self.arrival - self.request.priority * PRIORITY_SECONDS

    @property
    def output_count(self) -> int:
        """Tokens generated, those delivered before a resume included."""
        return len(self.token_ids) - self.prompt_count

    def times(self, now: float) -> GenerationTimes:
        """Returns where the time went, for a request that ends `now`."""
        started = now if self.first_scheduled is None else self.first_scheduled
        first = now if self.first_output is None else self.first_output
        return GenerationTimes(
            queue=started - self.arrival,
            preprocess=self.request.preprocess_seconds,
            time_to_first_output=first - self.arrival,
            compute=self.request.work.seconds,
            total=now - self.arrival,
        )


S = TypeVar("S", bound=CachedTokens, covariant=True)


@dataclass(frozen=True)
class Row(Generic[S]):
    """One sequence's part of a step: its next `token_count` uncomputed tokens."""

    sequence: S
    token_count: int
    decodes: bool = False
    """Whether the one token is the last of a sequence that is generated, rather than part of a prompt."""

    @property
    def completes(self) -> bool:
        """Whether a token is sampled after this row: nothing remains uncomputed."""
        return self.token_count == self.sequence.remaining

    @property
    def cost(self) -> int:
        """Tokens the model works on: what an encoder reads too, in the row that begins a sequence."""
        return self.token_count + (0 if self.sequence.computed else len(self.sequence.source_ids))
