"""Launches steps ahead over any runner: a stand-in for CUDA graphs that computes immediately on the CPU."""

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
    """Takes the place of StepGraphs.

    Tokens that depend on the step before are chosen when the step is read: an engine that reads steps too early or
    never gets other tokens in the steps that follow.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.first = self.ahead = self.wide = 0
        """Counts of steps: launched with none in flight, launched behind an unread step, and with proposed tokens."""
        self.waiting = 0
        """Number of steps launched ahead whose choice of tokens had to wait for the step before."""
        self.open = 0
        """Number of launched steps whose tokens are not chosen yet."""
        self.changed: dict[int, dict[int, int]] = {}
        """By step number: tokens reported instead of those found, by row."""
        self.failing: set[int] = set()
        """Numbers of steps that fail at launch."""
        self.unfinished: set[int] = set()
        """Numbers of steps that fail when their tokens are chosen."""

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
        """Returns the row, extended by the token that the step `after` found for its sequence."""
        sequence = row.sequence
        assert not (after and (row.proposed or len(after.places) < len(after.sequences)))
        ids, computed = sequence.token_ids, sequence.computed
        if after:
            ids, computed = [*ids, max(int(after.told[after.places[sequence]]), 0)], len(ids)
        held = CachedTokens(ids, pages=sequence.pages, computed=computed, prompt_count=sequence.prompt_count)
        return Row(held, row.token_count, scored=row.scored, proposed=row.proposed)
