"""Applies the tokens of a step to their sequences."""

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
    """Appends tokens to sequences, sends their text, and ends them. Used in the engine's thread only."""

    def __init__(self, scheduler: Scheduler, ledger: Ledger, outbox: Outbox) -> None:
        self._scheduler, self._ledger, self._outbox = scheduler, ledger, outbox
        self.generated = 0
        """Tokens generated so far, over all requests."""

    def take(self, landing: Landing) -> None:
        """Applies the results of a step."""
        if landing.cohort is not None:
            self._go_on(landing.cohort, landing.tokens, landing.likelihoods)
        for sequence, (token, likelihood) in landing.drawn:
            self._deliver(sequence, token, likelihood)

    def tell_prompt(self, group: SequenceGroup) -> None:
        """Sends the prompt's log-probabilities, if they were asked for and not sent yet."""
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
        """Applies a sampled token. A failure, such as a tokenizer's, ends only this request."""
        if sequence.group.ended or sequence.output.finish:  # by another of its candidates, or a token before
            return
        try:
            self._advance(sequence, token, likelihood)
        except Exception as error:
            self._ledger.fail(sequence.group, error)

    def _advance(self, sequence: Sequence, token: int | NoToken, likelihood: Likelihood | None) -> None:
        """Appends a sampled token and sends the text that is complete with it."""
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
