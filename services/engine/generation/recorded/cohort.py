"""A group of sequences that decode together for many steps."""

from collections.abc import Iterable
from functools import cached_property
from itertools import compress

from services.engine.generation.group import SequenceGroup
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.requests.request import Work
from services.engine.generation.sequence import Row, Sequence


class Cohort:
    """Sequences that decode together, one token each per step. What is the same in every step is computed once.

    `rows` is the same list object in every step, by which a launcher knows that only positions have changed.
    """

    def __init__(self, sequences: list[Sequence]) -> None:
        """Each sequence has a token that is being computed, and it is not its last."""
        self.sequences = sequences
        self.rows = [Row(sequence, 1, decodes=True) for sequence in sequences]
        self.steps_left = min(one.request.stopping.max_new_tokens - one.output.token_count - 1 for one in sequences)
        """Steps that can be launched before a sequence reaches its greatest number of tokens."""

    def goes_on(self, tokens: list[int]) -> bool:
        """Returns whether no sequence ends with these tokens, given that none has reached its greatest number of
        tokens.

        Followed sequences may still end by their text.
        """
        return not self.looks_up and min(tokens) >= 0 and self._ending_ids.isdisjoint(tokens)

    def plain(self, tokens: list[int]) -> Iterable[tuple[Sequence, int]]:
        """Yields the sequences that are not followed, with their tokens."""
        pairs = zip(self.sequences, tokens, strict=True)
        return compress(pairs, self._plain) if self.followed else pairs

    @cached_property
    def followed(self) -> list[int]:
        """Indices of the sequences whose output has to look at each token, as its text may end them."""
        return [i for i, plain in enumerate(self._plain) if not plain]

    @cached_property
    def looks_up(self) -> bool:
        """Whether tokens may be proposed for any of them."""
        return any(sequence.looks_up for sequence in self.sequences)

    @cached_property
    def outputs(self) -> dict[OutputBuilder, SequenceGroup]:
        """Outputs that need not look at each token, with the requests that they belong to."""
        return {one.output: one.group for one in compress(self.sequences, self._plain)}

    @cached_property
    def works(self) -> list[Work]:
        """The work counters of the sequences' requests, each once."""
        return list({id(one.request.work): one.request.work for one in self.sequences}.values())

    @cached_property
    def _plain(self) -> list[bool]:
        """For each sequence, whether only the token id and the number of tokens decide when it ends."""
        return [sequence.output.plain for sequence in self.sequences]

    @cached_property
    def _ending_ids(self) -> frozenset[int]:
        return frozenset().union(*(sequence.request.stopping.ending_ids for sequence in self.sequences))
