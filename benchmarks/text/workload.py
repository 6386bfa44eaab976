"""The workloads: prompts and lengths of requests."""

import random
from dataclasses import dataclass

from benchmarks.text.sample import Prompt
from benchmarks.text.vocabulary import SIZE, first_word_id


@dataclass(frozen=True)
class Workload:
    """Requests of one kind, for closed-loop callers."""

    name: str
    prompt_tokens: int
    new_tokens: int
    shared_tokens: int = 0
    """Leading tokens that are the same in every prompt."""

    def prompt(self, *key: object) -> Prompt:
        """Returns the prompt for a key: random words, the same for every system and on every machine."""
        shared = _tokens(self.shared_tokens, self.name, "shared")
        own = _tokens(self.prompt_tokens - self.shared_tokens, self.name, *key)
        return Prompt(shared + own, self.new_tokens)


SHARED = "shared"
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("64/64", 64, 64),
        Workload("512/128", 512, 128),
        Workload(SHARED, 448, 64, shared_tokens=384),
    )
}
MIXED = "mixed"
MIXED_STREAM = Workload("mixed-stream", 64, 1000)
MIXED_ARRIVAL = Workload("mixed-arrival", 4000, 8)


def _tokens(count: int, *key: object) -> tuple[int, ...]:
    draw = random.Random(repr(key))
    return tuple(draw.randrange(first_word_id(), SIZE) for _ in range(count))
