"""One row of the batch while it lives in the engine's thread."""

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
"""What a scored token takes of a step's budget of prompt tokens: it needs logits over the whole vocabulary."""


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
    media: PromptMedia | None = None
    """What stands among its first tokens besides text."""
    adapter: str = ""
    """The name of the adapter that it is computed with, if with any."""
    state: Any = None
    """The model's own cache, where a runner keeps one. Nobody else looks inside, and it goes when the pages go."""

    @property
    def remaining(self) -> int:
        """Tokens to compute before the next one can be sampled."""
        return len(self.token_ids) - self.computed

    @property
    def plain(self) -> bool:
        """Whether what is left are tokens with the model's own embeddings."""
        return self.media is None or self.computed >= self.prompt_count


class Sequence(CachedTokens):
    """A candidate or a beam of a request, with its tokens and its pages.

    Where several sequences of one request begin alike, one of them computes what they share and leads the others, its
    `followers`. They are forked from it when that is done, and each goes on by itself.
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
        """Which of the request's outputs this is. All beams have 0: which become an output is known at the end."""
        self.output = group.outputs[candidate]
        """What takes its tokens. Of a beam another with each of them."""
        self.followers: list[Sequence] = []
        self.tail: list[int] = []
        """Tokens behind those of `token_ids`, held back until the followers were forked."""
        self.rows = 1
        """Rows to keep free for it and its followers."""
        self.branches = False
        """Whether its logits are for others too: it leads some, or is a beam."""
        self.logits: Tensor | None = None
        """Of a beam, what it has computed while others of its search have not."""
        self._undecided = 0
        self._decided_from = 0
        self.lookup: Lookup | None = None
        """What proposes its next tokens. Made with the first proposal."""
        self.balance = 0.0
        """Steps that proposed tokens, of any row, have gained it, less what they have cost it: see Speculation."""
        self.processors: tuple[Processor, ...] | None = None
        """What its penalties and constraints remember. Made by the sampler with the first token."""
        self.wishes: Wishes | None = None
        """The same where a device chooses. Made when it is first asked for."""

    def twin(self, token_id: int) -> "Sequence":
        """Returns a new follower, which has one token more than this and is to be forked from it."""
        made = Sequence(self.group, [*self.token_ids, token_id], self.candidate)
        made.branches = self.branches
        self.followers.append(made)
        return made

    @property
    def undecided(self) -> bool:
        """Whether its logits are needed to choose its next token: more may be drawn than a device looks at."""
        return self.output_count < self._decided_from

    def leave_undecided(self, behind: int = 0) -> None:
        """Notes that the token behind so many to come is chosen from its logits, and some that follow.

        Each time it is one more: who is seldom undecided soon goes on as others do, who often is costs them little.
        """
        self._undecided += 1
        self._decided_from = self.output_count + behind + self._undecided

    @property
    def order(self) -> float:
        """Sorts sequences: the lower goes first."""
        return self.group.order

    @property
    def looks_up(self) -> bool:
        """Whether tokens may be proposed to it."""
        return self.request.lookup is not None and not self.branches

    @property
    def ends_next(self) -> bool:
        """Whether one more token makes the output as long as it may be."""
        return self.output.token_count + 1 >= self.request.stopping.max_new_tokens

    @property
    def output_count(self) -> int:
        """Tokens generated, those delivered before a resume included."""
        return len(self.token_ids) - self.prompt_count


S = TypeVar("S", bound=CachedTokens, covariant=True)


@dataclass(frozen=True)
class Row(Generic[S]):
    """One sequence's part of a step: its next `token_count` uncomputed tokens, those proposed behind them included."""

    sequence: S
    token_count: int
    decodes: bool = False
    """Whether the one token is the last of a sequence that is generated, rather than part of a prompt."""
    scored: int = 0
    """How many of them, from the first, have their logits returned, whether the row completes or not."""
    proposed: tuple[int, ...] = ()
    """Tokens that may turn out to come behind those of a sequence that decodes."""

    @property
    def token_ids(self) -> list[int]:
        """The tokens to compute."""
        first = self.sequence.computed
        return self.sequence.token_ids[first : first + self.token_count] + list(self.proposed)

    @property
    def cost(self) -> int:
        """What it takes of a step's budget of prompt tokens: what an encoder reads too, where a sequence begins."""
        read = 0 if self.sequence.computed else len(self.sequence.source_ids)
        return read + self.token_count + self.scored * (SCORED_TOKEN_COST - 1)

    @property
    def completes(self) -> bool:
        """Whether a token is sampled after this row: nothing remains uncomputed."""
        return self.token_count == self.sequence.remaining + len(self.proposed)

    @property
    def outputs(self) -> int:
        """Tokens behind which logits are computed."""
        return self.scored + self.completes

    def halved(self) -> "Row[S] | None":
        """Returns a row of half the tokens, or without those proposed; None if there is but one."""
        if self.proposed:
            return Row(self.sequence, 1, decodes=True)
        count = self.token_count // 2
        return Row(self.sequence, count, scored=min(self.scored, count)) if count else None
