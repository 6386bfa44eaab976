"""A step that was launched and whose tokens are read later, while the next one runs."""

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
    """One token for each row that completes, on its way; for rows with proposals one behind each of their tokens.

    None of a step that only reads parts of prompts: whoever asks for its tokens waits for its end.
    """

    sequences: list[Sequence]
    """Of each token."""
    told: Tensor
    """int64 `[tokens]` on the CPU, complete when it has arrived; NO_TOKEN and UNDECIDED as of `device_choice`."""
    arrived: torch.cuda.Event | None
    """None where it has at once."""
    began: float
    """When it was launched, on the clock of `time.monotonic`."""
    report: Report | None
    """How likely its tokens were, where a request asks for that."""
    rest: "Callable[[], LaunchedStep] | None" = field(default=None, kw_only=True)
    """What chooses its tokens, where that waits for those in front of them."""

    @cached_property
    def places(self) -> dict[Sequence, int]:
        """Where the token of each sequence is."""
        return {sequence: i for i, sequence in enumerate(self.sequences)}

    def finished(self) -> "LaunchedStep":
        """Returns the step with its tokens on their way: to be called once those in front of them are known.

        Until then it has none, and no step can be launched behind it.
        """
        return self.rest() if self.rest else self

    def tokens(self) -> list[int]:
        """Waits for the tokens and returns them."""
        assert self.rest is None
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.told.tolist()

    def likelihoods(self) -> dict[int, Likelihood]:
        """Returns how likely tokens were, by their places, if they have been waited for."""
        return self.report.read() if self.report else {}


class StepLauncher(Protocol):
    """What runs steps without waiting for them."""

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        """Launches a step that chooses a token for each row that completes; None where it cannot take these rows.

        With `after`, which nobody has read yet, the rows' sequences are among its own: each row is the token that the
        step before finds for its sequence, behind all that are known. That step's own list of rows may be given again,
        for a token more of each. At most two steps are unread, and neither step of such a pair has proposals.

        What only the host can tell of a row's next token is asked when the step is `finished`, while it runs.
        """
        ...
