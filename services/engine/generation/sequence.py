"""A sequence of tokens in the engine's thread, and its row of a step."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from torch import Tensor

from services.engine.generation.running.media import PromptMedia
from services.engine.generation.sampling.structure_mask import Processor
from services.engine.generation.sampling.wishes import Wishes
from services.engine.generation.speculation.prompt_lookup import Lookup

if TYPE_CHECKING:
    from services.engine.generation.group import SequenceGroup


SCORED_TOKEN_COST = 8
"""Cost of a scored token in a step's budget of prompt tokens: it needs logits over the whole vocabulary."""


@dataclass(eq=False)
class CachedTokens:
    """The tokens of a sequence, and how many of them have their keys and values in the cache."""

    token_ids: list[int]
    pages: list[int] = field(default_factory=list[int])
    computed: int = 0
    """How many tokens, from the first, are in the cache."""
    prompt_count: int = 0
    """How many tokens, from the first, were not generated."""
    source_ids: tuple[int, ...] = ()
    """The input of the encoder; empty where there is no encoder."""
    source_pages: list[int] = field(default_factory=list[int])
    media: PromptMedia | None = None
    """The media among its prompt tokens."""
    adapter: str = ""
    """The name of its adapter; empty: none."""
    state: Any = None
    """The model's own cache, where the runner uses that. Only the runner reads it; it is freed with the pages."""

    @property
    def remaining(self) -> int:
        """How many tokens must be computed before the next one can be sampled."""
        return len(self.token_ids) - self.computed

    @property
    def plain(self) -> bool:
        """Whether all uncomputed tokens have the model's own embeddings, and none a medium's features."""
        return self.media is None or self.computed >= self.prompt_count


class Sequence(CachedTokens):
    """A candidate or a beam of a request, with its tokens and its pages.

    Where several sequences of a request share a beginning, one of them, the leader, computes it. The others are its
    `followers`: they are forked from it when that is done.
    """

    def __init__(self, group: "SequenceGroup", token_ids: list[int], candidate: int = 0) -> None:
        request = group.request
        prompt_count = len(request.prompt_token_ids)
        super().__init__(
            token_ids,
            prompt_count=prompt_count,
            source_ids=request.source_token_ids,
            media=request.media,
            adapter=request.adapter,
        )
        self.group = group
        self.request = request
        self.candidate = candidate
        """The index of its output. All beams have 0: which of them become outputs is known at the end."""
        self.output = group.outputs[candidate]
        """Builds its output. A beam has a new builder after each token."""
        self.followers: list[Sequence] = []
        self.tail: list[int] = []
        """Tokens to append to `token_ids` once the followers are forked."""
        self.rows = 1
        """How many rows are reserved for it and its followers."""
        self.branches = False
        """Whether others need its logits too: it has followers, or is a beam."""
        self.logits: Tensor | None = None
        """Of a beam: its logits, kept until all beams of the search have theirs."""
        self._undecided = 0
        self._decided_from = 0
        self.lookup: Lookup | None = None
        """Proposes its next tokens. Made with the first proposal."""
        self.balance = 0.0
        """Steps that speculation has saved it, less those that it has cost: see Speculation."""
        self.processors: tuple[Processor, ...] | None = None
        """The state of its penalties and constraints. Made by the sampler with the first token."""
        self.wishes: Wishes | None = None
        """The same where the GPU samples. Made when first needed."""

    def twin(self, token_id: int) -> "Sequence":
        """Returns a new follower with one more token, to be forked from this sequence."""
        made = Sequence(self.group, [*self.token_ids, token_id], self.candidate)
        made.branches = self.branches
        self.followers.append(made)
        return made

    @property
    def undecided(self) -> bool:
        """Whether the host needs its logits to choose the next token: the GPU looks only at the likeliest tokens."""
        return self.output_count < self._decided_from

    def leave_undecided(self, behind: int = 0) -> None:
        """Notes that the host must choose the token after the next `behind` ones, and some that follow.

        Each time it chooses one token more than the time before: a sequence that seldom needs the host soon samples on
        the GPU again, and one that often does rarely interrupts the steps of others.
        """
        self._undecided += 1
        self._decided_from = self.output_count + behind + self._undecided

    @property
    def order(self) -> float:
        """The sort key of sequences: the lowest is served first."""
        return self.group.order

    @property
    def looks_up(self) -> bool:
        """Whether tokens may be proposed for it."""
        return self.request.lookup is not None and not self.branches

    @property
    def ends_next(self) -> bool:
        """Whether one more token reaches the output's greatest length."""
        return self.output.token_count + 1 >= self.request.stopping.max_new_tokens

    @property
    def output_count(self) -> int:
        """How many tokens were generated, including those delivered before a resume."""
        return len(self.token_ids) - self.prompt_count


S = TypeVar("S", bound=CachedTokens, covariant=True)


@dataclass(frozen=True)
class Row(Generic[S]):
    """One sequence's part of a step: its next `token_count` uncomputed tokens, including proposed ones."""

    sequence: S
    token_count: int
    decodes: bool = False
    """Whether its one token is the last one of a generating sequence, rather than part of a prompt."""
    scored: int = 0
    """How many tokens, from the first, have their logits returned whether the row completes or not."""
    proposed: tuple[int, ...] = ()
    """Proposed tokens, which come after the last one of a decoding sequence."""

    @property
    def token_ids(self) -> list[int]:
        """The tokens to compute."""
        first = self.sequence.computed
        known = self.sequence.token_ids[first : first + self.token_count]
        return known + list(self.proposed) if self.proposed else known

    @property
    def cost(self) -> int:
        """Its cost in a step's budget of prompt tokens, including the encoder's input where a sequence begins."""
        read = 0 if self.sequence.computed else len(self.sequence.source_ids)
        return read + self.token_count + self.scored * (SCORED_TOKEN_COST - 1)

    @property
    def completes(self) -> bool:
        """Whether a token is sampled after this row: nothing remains uncomputed."""
        return self.token_count == self.sequence.remaining + len(self.proposed)

    @property
    def outputs(self) -> int:
        """How many of its tokens have their logits computed."""
        return self.scored + self.completes

    def halved(self) -> "Row[S] | None":
        """Returns a row with half the tokens, or without the proposed ones; None if it has only one token."""
        if self.proposed:
            return Row(self.sequence, 1, decodes=True)
        count = self.token_count // 2
        return Row(self.sequence, count, scored=min(self.scored, count)) if count else None
