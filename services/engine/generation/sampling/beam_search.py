"""Beam search over one request, as transformers' `generate` does it: equal tokens in float32.

Where constraints leave fewer continuations than beams, `generate` continues copies of beams and outputs that have
ended; here there are fewer beams.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.requests.request import BeamParameters, EarlyStopping
from services.engine.generation.sampling.beam_draws import draw_places
from services.engine.generation.sampling.likelihood import likelihoods
from services.engine.generation.sampling.sampler import NoToken, process
from services.engine.generation.sampling.structure_mask import structure_failure
from services.engine.generation.sampling.truncation import truncate
from services.engine.generation.sequence import Sequence

_NEVER = float("-inf")
_COLDEST = 1e-30
"""The lowest temperature: scores divided by less would overflow."""


@dataclass(eq=False)
class Beam:
    """An unfinished output."""

    sequence: Sequence
    score: float = 0.0
    """Sum of its tokens' log-probabilities, after penalties, constraints and temperature."""


@dataclass(frozen=True)
class Continuation:
    """A beam and its next token."""

    beam: Beam
    token_id: int
    output: OutputBuilder
    score: float


@dataclass(frozen=True)
class Hypothesis:
    """A finished output."""

    token_ids: list[int]
    output: OutputBuilder
    score: float
    """The score of its beam, divided by a power of its length."""


class BeamSearch:
    """The beams of one request, and the hypotheses found so far.

    A step of it is `choose`, which may be repeated, and then `advance`.
    """

    def __init__(self, lead: Sequence, parameters: BeamParameters) -> None:
        """Starts with one beam, the prompt."""
        self.beams = [Beam(lead)]
        """The best first."""
        self.found: list[Hypothesis] = []
        """The best first; at most as many as there may be beams."""
        self.done = False
        self.broken: tuple[NoToken, Sequence] | None = None
        """Why it cannot continue, and the sequence without a valid token."""
        self._request = lead.request
        self._parameters = parameters
        self._ending_ids = lead.request.stopping.ending_ids
        self._generated = 0
        self._chosen: list[Continuation] | None = None

    @property
    def ready(self) -> bool:
        """Whether all beams have their logits, so that it can `choose`."""
        return all(beam.sequence.logits is not None for beam in self.beams)

    @property
    def chosen(self) -> bool:
        """Whether it has chosen, so that it can `advance`. False again if its beams were preempted since."""
        return self._chosen is not None and self.ready

    def choose(self) -> None:
        """Chooses the continuations of the beams."""
        logits = torch.stack([logits for beam in self.beams if (logits := beam.sequence.logits) is not None])
        sequences = [beam.sequence for beam in self.beams]
        self._chosen, self.broken = [], None
        if not torch.isfinite(logits.amax(dim=-1)).all():
            self.broken = NoToken.NOT_NUMBERS, sequences[0]
            return
        scores = torch.log_softmax(logits, dim=-1)
        process(scores, sequences)
        # A beam whose structure admits nothing for want of room is no beam that the structure ends.
        if failed := next((each for each in sequences if structure_failure(each.processors)), None):
            self.broken = NoToken.ALL_FORBIDDEN, failed
            return
        if not self._request.sampling.greedy:
            scores = self._warped(scores)
        scores += torch.tensor([[beam.score] for beam in self.beams], device=scores.device)
        self._chosen = self._continuations(*self._best(scores.flatten()), scores.shape[1])
        if self._chosen and (count := self._request.logprob_count) is not None:
            self._note_likelihoods(self._chosen, logits, count)

    def advance(self) -> list[Sequence]:
        """Continues the beams as chosen, or is `done` if no better hypothesis can come.

        Returns the sequences that have ended. Of those that continue one beam, the first is that beam's sequence and
        the leader of the others.
        """
        chosen, self._chosen = self._chosen or [], None
        self._generated += 1
        going = [continuation for continuation in chosen if not continuation.output.finish]
        ended = [self._hypothesis(continuation) for continuation in chosen if continuation.output.finish]
        self.found = sorted([*self.found, *ended], key=lambda one: one.score, reverse=True)[: self._parameters.count]
        self.done = not going or not self._can_improve(going[0].score)
        return [] if self.done else self._extend(going)

    def _warped(self, scores: Tensor) -> Tensor:
        """Applies temperature and truncation, which keeps for each beam a token besides the ending ones."""
        sampling = self._request.sampling
        parameters = [sampling] * len(scores)
        return truncate(scores / max(sampling.temperature, _COLDEST), parameters, least=len(self._ending_ids) + 1)

    def _best(self, scores: Tensor) -> tuple[list[float], list[int]]:
        """Returns the best or the drawn scores of all beams' tokens and their places, the best first.

        They are enough to continue all beams, even if every beam is also continued by every ending token.
        """
        most = max(2, 1 + len(self._ending_ids)) * self._parameters.count
        if self._request.sampling.greedy:
            best = scores.topk(min(most, len(scores)))
            return best.values.tolist(), best.indices.tolist()
        drawn = draw_places(scores, most, self._request.sampling.seed, self._generated)
        values: list[float] = scores[drawn].tolist()
        order = sorted(range(len(drawn)), key=lambda i: values[i], reverse=True)
        return [values[i] for i in order], [drawn[i] for i in order]

    def _continuations(self, scores: list[float], places: list[int], vocabulary: int) -> list[Continuation]:
        """Returns the best unfinished continuations, as many as beams, and the finished ones among the best as many."""
        chosen: list[Continuation] = []
        count = self._parameters.count
        going = 0
        for rank, (score, place) in enumerate(zip(scores, places, strict=True)):
            if score == _NEVER or (rank >= count and going == count):
                break
            beam, token_id = self.beams[place // vocabulary], place % vocabulary
            # Text is made token by token, as making all of it at the end would stop everybody else.
            output = beam.sequence.output.fork()
            ends = output.push(token_id) is not None
            if (ends and rank < count) or (not ends and going < count):
                chosen.append(Continuation(beam, token_id, output, score))
                going += not ends
        return chosen

    def _note_likelihoods(self, chosen: list[Continuation], logits: Tensor, count: int) -> None:
        rows = [self.beams.index(continuation.beam) for continuation in chosen]
        token_ids = [continuation.token_id for continuation in chosen]
        found = likelihoods(logits[rows], token_ids, [count] * len(rows))
        for continuation, likelihood in zip(chosen, found, strict=True):
            continuation.output.note(likelihood)

    def _hypothesis(self, continuation: Continuation) -> Hypothesis:
        token_ids = continuation.beam.sequence.token_ids[len(self._request.prompt_token_ids) :]
        score = self._normalized(continuation.score, self._generated)
        return Hypothesis([*token_ids, continuation.token_id], continuation.output, score)

    def _can_improve(self, best: float) -> bool:
        """Returns whether a beam of this score may still lead to a better hypothesis than those found."""
        early, count = self._parameters.early_stopping, self._parameters.count
        if len(self.found) < count:
            return True
        if early is EarlyStopping.FIRST:
            return False
        longest = early is EarlyStopping.NEVER and self._parameters.length_penalty > 0
        length = self._request.stopping.max_new_tokens if longest else self._generated
        return self._normalized(best, length) > self.found[-1].score

    def _normalized(self, score: float, length: int) -> float:
        # In float32, as there.
        return float(torch.tensor(score) / length**self._parameters.length_penalty)

    def _extend(self, going: list[Continuation]) -> list[Sequence]:
        before = [beam.sequence for beam in self.beams]
        own: dict[Sequence, int] = {}
        beams: list[Beam] = []
        for continuation in going:
            sequence = continuation.beam.sequence
            if sequence in own:
                sequence = sequence.twin(continuation.token_id)
            else:
                own[sequence] = continuation.token_id
            sequence.output = continuation.output
            beams.append(Beam(sequence, continuation.score))
        for sequence, token_id in own.items():
            sequence.token_ids.append(token_id)
            sequence.logits = None
        self.beams = beams
        return [sequence for sequence in before if sequence not in own]
