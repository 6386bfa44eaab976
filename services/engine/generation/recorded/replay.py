"""What a recording is replayed with: the next step of the same rows takes most of it over."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor

from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.recorded.step_inputs import LaidRows
from services.engine.generation.recorded.transfer import Transfer
from services.engine.generation.sampling.device_changes import LogitChanges
from services.engine.generation.sampling.device_choice import Draws, choose
from services.engine.generation.sampling.device_likelihoods import DeviceLikelihoods
from services.engine.generation.sequence import Row, Sequence

_UNREAD = 2
"""Steps at most whose tokens nobody has read yet."""


@dataclass(frozen=True)
class Sampling:
    """By what tokens are drawn, where not all rows are greedy."""

    numbers: Tensor
    """See `choose`."""
    draws: Draws
    """Of the steps to come."""
    run: Callable[[], object] | None
    """Replays the recorded choice, if there is one."""
    needed: bool
    """Whether it chooses for any row: not for those whose logits a request changes."""


@dataclass(frozen=True)
class Told:
    """Where the CPU reads what was chosen."""

    tokens: Tensor
    """int64, as many as any step has."""
    send: Callable[[], object]
    """Writes all that the device has there."""
    arrived: torch.cuda.Event | None
    """Of the last time that was done; None where nobody has to wait for it."""


def told_by_turns(chosen: Tensor, transfer: Transfer) -> Iterator[Told]:
    """Returns where the CPU reads what was chosen, without end: no place again before the next one was read."""
    cuda, count = chosen.is_cuda, len(chosen)
    places = [torch.zeros(count, dtype=torch.int64, pin_memory=cuda) for _ in range(_UNREAD)]
    return cycle([Told(each, transfer(chosen, each, count), torch.cuda.Event() if cuda else None) for each in places])


@dataclass(frozen=True)
class Replay:
    """Some rows in the places of a recording, and the parts of all that is read and written which are theirs."""

    rows: Collection[Row[Sequence]]
    sequences: list[Sequence]
    """Of each token that is chosen."""
    laid: LaidRows | None
    """None where the rows cannot go on from where they lie."""
    run: Callable[[], object]
    logits: Tensor
    chosen: Tensor
    told: Iterator[Told]
    """See `told_by_turns`."""
    sampling: Sampling | None
    changes: LogitChanges | None
    """What some of the rows want of their logits."""
    likelihoods: DeviceLikelihoods | None
    """Of the tokens of some of the rows."""

    @property
    def waits(self) -> bool:
        """Whether some tokens can only be chosen when those in front of them are known."""
        return self.changes is not None and self.changes.waits

    def compute(self) -> None:
        """Replays the recording, and chooses the tokens of rows whose logits are left as they are."""
        self.run()
        by = self.sampling
        if by is not None and by.needed:
            if by.run is not None:
                by.run()
            else:
                self.chosen.copy_(choose(self.logits, self.chosen, by.numbers))

    def change(self) -> None:
        """Chooses the tokens of the others."""
        if self.changes is not None:
            self.changes.choose(self.logits, self.chosen, self.sampling and self.sampling.numbers)

    def waiting(self, rest: Callable[[], LaunchedStep], began: float) -> "ReplayedStep":
        """Returns the step, launched at `began`, whose tokens are yet to be chosen."""
        return ReplayedStep(self.sequences, self.chosen, None, began, None, self, rest=rest)

    def tell(self, began: float) -> "ReplayedStep":
        """Sends what was chosen to the CPU, and how likely that was. Nobody waits for it."""
        told = next(self.told)
        told.send()
        report = self.likelihoods and self.likelihoods.report(self.logits, self.chosen)
        if told.arrived is not None:
            told.arrived.record()
        tokens = told.tokens[: len(self.chosen)]
        return ReplayedStep(self.sequences, tokens, told.arrived, began, report, self)


@dataclass(frozen=True)
class ReplayedStep(LaunchedStep):
    """A step that was launched by replaying a recording."""

    replay: Replay
