"""The state of one request in the engine's thread."""

import time

from sensorium.call_record import followed
from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Completed, Delta, GenerationRequest
from services.engine.generation.requests.times import times_of
from services.engine.generation.sampling.beam_search import BeamSearch
from services.engine.generation.sampling.prompt_scoring import PromptScoring
from services.engine.generation.sequence import Sequence

PRIORITY_SECONDS = 5.0
"""One level of priority outweighs this much waiting time, so that no request waits for ever."""


class SequenceGroup:
    """A request with its stream, its times and its sequences. Times are seconds on the engine's clock."""

    def __init__(
        self,
        request: GenerationRequest,
        outputs: tuple[OutputBuilder, ...],
        stream: GenerationStream,
        arrival: float,
    ) -> None:
        """`outputs` are one builder for each candidate."""
        self.request = request
        self.outputs = outputs
        self.stream = stream
        self.timeline = followed(arrival)
        self.order = arrival - request.priority * PRIORITY_SECONDS
        """The sort key of requests: the lowest is served first."""
        self.sequences: list[Sequence] = []
        """Sequences that have not ended; made by `open`."""
        self.search: BeamSearch | None = None
        self.scoring: PromptScoring | None = None
        """Collects the prompt's log-probabilities until they are sent."""
        self.cached_count: int | None = None
        """Prompt tokens found in the prefix cache; None before the first admission."""
        self.proposed_count = self.accepted_count = 0
        """Tokens that were proposed, and how many of them the model accepted."""
        self.ended = False

    def open(self) -> Sequence | None:
        """Makes the sequences and returns the one to compute first; None if nothing is left to compute."""
        request, prompt = self.request, self.request.prompt_token_ids
        if request.prompt_logprob_count is not None:
            self.scoring = PromptScoring(prompt, request.prompt_logprob_count, self.outputs[0])
        unfinished = [i for i, output in enumerate(self.outputs) if output.finish is None]
        if request.beams and unfinished:
            self.sequences = [Sequence(self, [*prompt])]
            self.search = BeamSearch(self.sequences[0], request.beams)
        elif unfinished:
            self.sequences = [Sequence(self, [*prompt, *request.delivered_to(i)], i) for i in unfinished]
        elif self.scoring:
            # Its prompt is to be computed, and nothing behind it.
            self.sequences = [Sequence(self, [*prompt])]
            self.sequences[0].branches = True
        return self.gather() if self.sequences else None

    def gather(self) -> Sequence:
        """Makes the first sequence the leader of all others, none of which holds pages now, and returns it."""
        for sequence in self.sequences:
            sequence.token_ids += sequence.tail
            sequence.tail, sequence.followers = [], []
        lead, *others = self.sequences
        if others:
            start = len(self.request.prompt_token_ids)
            common = start + common_length([sequence.token_ids[start:] for sequence in self.sequences])
            lead.tail = lead.token_ids[common:]
            del lead.token_ids[common:]
            lead.followers = others
            lead.branches = True
        if self.request.beams:
            lead.rows = self.request.beams.count
            lead.branches = True
        return lead

    def share_rows(self) -> None:
        """Gives each beam a row. The first keeps those of beams that have ended: others may take their place."""
        assert self.request.beams is not None
        for sequence in self.sequences:
            sequence.rows = 1
        self.sequences[0].rows += self.request.beams.count - len(self.sequences)

    def conclude(self) -> list[Delta]:
        """Makes the best beams the request's outputs, and returns the deltas that the caller does not hold yet.

        Raises:
            InvalidArgument: there are fewer than the candidates asked for, or the caller holds others.
        """
        assert self.search is not None
        found, count = self.search.found, self.request.candidate_count
        if len(found) < count:
            wrong = f"leave {len(found)} outputs for {count} candidates, as they forbid all others"
            raise InvalidArgument([Violation("parameters", wrong)])
        deltas: list[Delta] = []
        self.outputs = tuple(hypothesis.output for hypothesis in found[:count])
        for i, (output, hypothesis) in enumerate(zip(self.outputs, found, strict=False)):
            held = self.request.delivered_to(i)
            if held != tuple(hypothesis.token_ids[: len(held)]):
                raise InvalidArgument([Violation("delivered", f"holds tokens of candidate {i} that are not its own")])
            output.candidate_index = i
            if delta := output.take(behind=len(held)):
                deltas.append(delta)
        return deltas

    def completed(self) -> Completed:
        """Returns the event that ends the stream, for a request whose outputs have all finished."""
        input_count, media = self.request.input_token_count, self.request.media
        return Completed(
            tuple(output.finish for output in self.outputs if output.finish),
            input_count,
            sum(output.token_count for output in self.outputs),
            times_of(self.timeline, time.monotonic(), self.request.work.seconds, self.request.preprocess_seconds),
            min(self.cached_count or 0, input_count),
            0 if media is None else media.image_count,
            None if media is None else media.audio_seconds,
            self.proposed_count,
            self.accepted_count,
        )


def common_length(lists: list[list[int]]) -> int:
    """Returns the length of the longest common prefix."""
    first, last = min(lists), max(lists)  # these two differ no later than any others
    return next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
