"""Launches steps of any runner, which computes them at once; what they have found is told when it is asked for."""

import time
from collections.abc import Collection

import torch

from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.running.runner import Runner
from services.engine.generation.sampling.device_changes import changes_of
from services.engine.generation.sampling.device_choice import NO_TOKEN, choose, numbers_of
from services.engine.generation.sampling.device_likelihoods import likelihoods_of
from services.engine.generation.sequence import CachedTokens, Row, Sequence


class EagerLauncher:
    """Stands where StepGraphs stands. Whoever reads a step too early, or never, changes what comes behind it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.first = self.ahead = self.wide = 0
        """Steps launched behind none, and behind one that was not read; of the first, those with proposals."""
        self.waiting = 0
        """Steps launched ahead of which some tokens waited for those in front of them."""
        self.open = 0
        """Steps whose tokens still wait."""
        self.changed: dict[int, dict[int, int]] = {}
        """By a step's number: what is told in place of some rows' tokens."""
        self.failing: set[int] = set()
        """Steps that cannot be launched."""
        self.unfinished: set[int] = set()
        """Steps that fail where they are to choose tokens that waited."""

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        number = self.first + self.ahead
        self.first, self.ahead = (self.first, self.ahead + 1) if after else (self.first + 1, self.ahead)
        self.wide += any(row.proposed for row in rows)
        if number in self.failing:
            raise RuntimeError("no room")
        told = [row for row in rows if after or row.completes]
        sequences = [row.sequence for row in told for _ in range(1 + len(row.proposed))]
        logits = self._runner.run([self._further(row, after) for row in rows])
        likeliest = torch.where(logits.amax(dim=-1).isfinite(), logits.argmax(dim=-1), NO_TOKEN)
        further = [i + (after is not None) for row in told for i in range(1 + len(row.proposed))]
        drawn = None if (numbers := numbers_of(sequences, further)) is None else torch.from_numpy(numbers)
        if drawn is not None:
            likeliest = choose(logits, likeliest, drawn)
        sources = [after.places[sequence] for sequence in sequences] if after else None
        changes = changes_of(sequences, sources, logits.shape[-1], logits.device)
        if changes and after:
            changes.begin(after.told)
        began = time.monotonic()

        def finished() -> LaunchedStep:
            self.open -= 1
            if changes:
                changes.choose(logits, likeliest, drawn)
            if number in self.unfinished:
                raise RuntimeError("no room")
            for place, token in self.changed.get(number, {}).items():
                likeliest[place] = token
            likelihoods = likelihoods_of(sequences, logits.device)
            report = likelihoods and likelihoods.report(logits, likeliest)
            return LaunchedStep(sequences, likeliest, None, began, report)

        self.open += 1
        if not changes or not changes.waits:
            return finished()
        self.waiting += after is not None
        return LaunchedStep(sequences, torch.empty(0), None, began, None, rest=finished)

    def _further(self, row: Row[Sequence], after: LaunchedStep | None) -> Row[CachedTokens]:
        """Returns the row of the sequence with the token that the step before has found."""
        sequence = row.sequence
        assert not (after and (row.proposed or len(after.places) < len(after.sequences)))
        ids, computed = sequence.token_ids, sequence.computed
        if after:
            ids, computed = [*ids, max(int(after.told[after.places[sequence]]), 0)], len(ids)
        held = CachedTokens(ids, pages=sequence.pages, computed=computed, prompt_count=sequence.prompt_count)
        return Row(held, row.token_count, scored=row.scored, proposed=row.proposed)
