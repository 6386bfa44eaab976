"""What becomes of the tokens that a step has found."""

import time

from services.engine.generation.group import SequenceGroup
from services.engine.generation.ledger import Ledger
from services.engine.generation.output.delivery import Outbox
from services.engine.generation.recorded.cohort import Cohort
from services.engine.generation.recorded.lookahead import Landing
from services.engine.generation.requests.request import Likelihood
from services.engine.generation.sampling.sampler import NoToken
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Row, Sequence


class Progress:
    """Takes sequences on by their tokens, and to their ends. Belongs to the engine's thread."""

    def __init__(self, scheduler: Scheduler, ledger: Ledger, outbox: Outbox) -> None:
        self._scheduler, self._ledger, self._outbox = scheduler, ledger, outbox
        self.generated = 0
        """Tokens so far."""

    def take(self, landing: Landing) -> None:
        """Takes on what a step has found."""
        if landing.cohort is not None:
            self._go_on(landing.cohort, landing.tokens, landing.likelihoods)
        for sequence, (token, likelihood) in landing.drawn:
            self._deliver(sequence, token, likelihood)

    def tell_prompt(self, group: SequenceGroup) -> None:
        """Hands out the prompt's log-probabilities, if they were asked for and not told yet."""
        if group.scoring is not None:
            self._outbox.add(group.stream, group.scoring.told())
            group.scoring = None

    def _go_on(self, cohort: Cohort, tokens: list[int], likelihoods: dict[int, Likelihood]) -> None:
        """Appends a token to each sequence that is not followed, of which none ends."""
        for sequence, token in cohort.plain(tokens):
            sequence.token_ids.append(token)
            sequence.output.append(token)
        for place, likelihood in likelihoods.items():
            cohort.sequences[place].output.note(likelihood)
        self.generated += len(tokens) - len(cohort.followed)
        self._outbox.hold_all(cohort.outputs)

    def _deliver(self, sequence: Sequence, token: int | NoToken, likelihood: Likelihood | None) -> None:
        """Takes a sampled token on. A failure, such as a tokenizer's, ends this request only."""
        if sequence.group.ended or sequence.output.finish:  # by another of its candidates, or a token before
            return
        try:
            self._advance(sequence, token, likelihood)
        except Exception as error:
            self._ledger.fail(sequence.group, error)

    def _advance(self, sequence: Sequence, token: int | NoToken, likelihood: Likelihood | None) -> None:
        """Appends a sampled token and hands out the text it releases."""
        if isinstance(token, NoToken):
            self._ledger.end_without(token, sequence)
            return
        if sequence.remaining and sequence in self._scheduler.running:  # what was proposed before it is computed
            self._scheduler.advance(Row(sequence, 1))
        sequence.token_ids.append(token)
        self.generated += 1
        group, output = sequence.group, sequence.output
        if group.timeline.first_output is None:
            group.timeline.first_output = time.monotonic()
            self.tell_prompt(group)
        finish = output.push(token, likelihood)
        self._outbox.hold(group, output)
        if finish:
            self._scheduler.remove(sequence)
            group.sequences.remove(sequence)
            if not group.sequences:
                self._ledger.complete(group)
