"""Everything needed to replay a recording for some rows. The next step of the same rows reuses most of it."""

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
"""Most launched steps whose tokens are not read yet."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn, if not all rows are greedy."""

    numbers: Tensor
    """See `choose`."""
    draws: Draws
    """The random draws of the following steps."""
    run: Callable[[], object] | None
    """Replays the recorded choice; None if it is not recorded."""
    needed: bool
    """Whether it chooses for any row. Rows with changed logits are chosen by LogitChanges instead."""


@dataclass(frozen=True)
class Told:
    """A buffer from which the CPU reads the chosen tokens."""

    tokens: Tensor
    """int64, with room for the tokens of any step."""
    send: Callable[[], object]
    """Copies all of the device's tokens there."""
    arrived: torch.cuda.Event | None
    """Recorded after the last copy; None if the copy is synchronous."""


def told_by_turns(chosen: Tensor, transfer: Transfer) -> Iterator[Told]:
    """Yields buffers for chosen tokens in turn, endlessly. A buffer is reused only after the next one was read."""
    cuda, count = chosen.is_cuda, len(chosen)
    places = [torch.zeros(count, dtype=torch.int64, pin_memory=cuda) for _ in range(_UNREAD)]
    return cycle([Told(each, transfer(chosen, each, count), torch.cuda.Event() if cuda else None) for each in places])


@dataclass(frozen=True)
class Replay:
    """Rows in a recording's inputs, with the parts of the inputs and outputs that belong to them."""

    rows: Collection[Row[Sequence]]
    sequences: list[Sequence]
    """The sequence of each chosen token."""
    laid: LaidRows | None
    """None if the rows cannot move on by one token in place."""
    run: Callable[[], object]
    logits: Tensor
    chosen: Tensor
    told: Iterator[Told]
    """See `told_by_turns`."""
    sampling: Sampling | None
    changes: LogitChanges | None
    """The changes that some requests make to their rows' logits."""
    likelihoods: DeviceLikelihoods | None
    """For tokens whose likelihood is asked for."""

    @property
    def waits(self) -> bool:
        """Whether some tokens can only be chosen after those of the step before are known."""
        return self.changes is not None and self.changes.waits

    def compute(self) -> None:
        """Replays the recording, and chooses the tokens of rows whose logits are not changed."""
        self.run()
        by = self.sampling
        if by is not None and by.needed:
            if by.run is not None:
                by.run()
            else:
                self.chosen.copy_(choose(self.logits, self.chosen, by.numbers))

    def change(self) -> None:
        """Chooses the tokens of rows whose logits are changed."""
        if self.changes is not None:
            self.changes.choose(self.logits, self.chosen, self.sampling.numbers if self.sampling is not None else None)

    def waiting(self, rest: Callable[[], LaunchedStep], began: float) -> "ReplayedStep":
        """Returns the step, launched at `began`, whose tokens are not chosen yet."""
        return ReplayedStep(self.sequences, self.chosen, None, began, None, self, rest=rest)

    def tell(self, began: float) -> "ReplayedStep":
        """Starts to copy the chosen tokens and their likelihoods to the CPU, and returns the step. Does not wait."""
        told = next(self.told)
        told.send()
        report = None if self.likelihoods is None else self.likelihoods.report(self.logits, self.chosen)
        if told.arrived is not None:
            told.arrived.record()
        tokens = told.tokens[: len(self.chosen)]
        return ReplayedStep(self.sequences, tokens, told.arrived, began, report, self)


@dataclass(frozen=True)
class ReplayedStep(LaunchedStep):
    """A step that was launched by replaying a recording."""

    replay: Replay
