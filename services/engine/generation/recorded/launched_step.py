"""A launched step whose tokens are read later, while the next step runs."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from services.engine.generation.requests.request import Likelihood
from services.engine.generation.sampling.device_likelihoods import Report
from services.engine.generation.sequence import Row, Sequence


@dataclass(frozen=True)
class LaunchedStep:
    """A running step with one token for each row that completes; rows with proposals have one behind each of their
    tokens.

    A step that only reads parts of prompts has no tokens: `tokens` then only waits for its end.
    """

    sequences: list[Sequence]
    """The sequence of each token."""
    told: Tensor
    """int64 `[tokens]` on the CPU, valid after `arrived`. May contain NO_TOKEN and UNDECIDED of `device_choice`."""
    arrived: torch.cuda.Event | None
    """None if the tokens are valid at once."""
    began: float
    """When it was launched, as `time.monotonic` seconds."""
    report: Report | None
    """The likelihoods of its tokens, if a request asks for them."""
    rest: "Callable[[], LaunchedStep] | None" = field(default=None, kw_only=True)
    """Chooses its tokens, if that depends on the tokens of the step before."""

    @cached_property
    def places(self) -> dict[Sequence, int]:
        """The index of each sequence's token."""
        return {sequence: i for i, sequence in enumerate(self.sequences)}

    def finished(self) -> "LaunchedStep":
        """Returns the step with its choice of tokens launched. Call it once the tokens of the step before are known.

        Until then the step has no tokens, and no step can be launched after it.
        """
        return self.rest() if self.rest else self

    def tokens(self) -> list[int]:
        """Waits for the tokens and returns them."""
        assert self.rest is None
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.told.tolist()

    def likelihoods(self) -> dict[int, Likelihood]:
        """Returns likelihoods by the index of their token. Call `tokens` first."""
        return self.report.read() if self.report else {}


class StepLauncher(Protocol):
    """Runs steps without waiting for them."""

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        """Launches a step that chooses a token for each row that completes; returns None if it cannot take these rows.

        `after` is the step before, whose tokens are not read yet. The rows' sequences have to be among its own: each
        row is the token that `after` is computing for its sequence, behind all known ones. If `rows` is the list of
        that step, each row moves on by one token. At most two steps may be unread, and neither of two such steps may
        have proposals.

        If only the host can decide what a row's next token may be, that is asked in `finished`, while the step runs.
        """
        ...
