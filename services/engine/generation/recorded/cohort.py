"""Sequences that decode together for many steps."""

from collections.abc import Iterable
from functools import cached_property
from itertools import compress

from services.engine.generation.group import SequenceGroup
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.requests.request import Work
from services.engine.generation.sequence import Row, Sequence


class Cohort:
    """Sequences that decode together, step after step and one token each: what stays the same is found once.

    Its rows are the same list in every step, by which a launcher knows that only positions have changed.
    """

    def __init__(self, sequences: list[Sequence]) -> None:
        """Takes sequences that each have a token on its way, which is not their last."""
        self.sequences = sequences
        self.rows = [Row(sequence, 1, decodes=True) for sequence in sequences]
        self.steps_left = min(one.request.stopping.max_new_tokens - one.output.token_count - 1 for one in sequences)
        """Steps that can be launched of it before one of them has as many tokens as it may have."""

    def goes_on(self, tokens: list[int]) -> bool:
        """Returns whether none ends by what its token is, where none has as many as it may have.

        Those that are followed may end by what they say.
        """
        return not self.looks_up and min(tokens) >= 0 and self._ending_ids.isdisjoint(tokens)

    def plain(self, tokens: list[int]) -> Iterable[tuple[Sequence, int]]:
        """Yields those that go on then, with their tokens: all that are not followed."""
        pairs = zip(self.sequences, tokens, strict=True)
        return compress(pairs, self._plain) if self.followed else pairs

    @cached_property
    def followed(self) -> list[int]:
        """Which of them are looked at with each token, as it may end them by what it says."""
        return [i for i, plain in enumerate(self._plain) if not plain]

    @cached_property
    def looks_up(self) -> bool:
        """Whether tokens may be proposed to any of them."""
        return any(sequence.looks_up for sequence in self.sequences)

    @cached_property
    def outputs(self) -> dict[OutputBuilder, SequenceGroup]:
        """Those of which not each token is looked at, with the requests that they belong to."""
        return {one.output: one.group for one in compress(self.sequences, self._plain)}

    @cached_property
    def works(self) -> list[Work]:
        """What counts the time that is worked on them, each once."""
        return list({id(one.request.work): one.request.work for one in self.sequences}.values())

    @cached_property
    def _plain(self) -> list[bool]:
        """Of each, whether what its token is and how many there are is all that decides about what ends with it."""
        return [sequence.output.plain for sequence in self.sequences]

    @cached_property
    def _ending_ids(self) -> frozenset[int]:
        return frozenset().union(*(sequence.request.stopping.ending_ids for sequence in self.sequences))
