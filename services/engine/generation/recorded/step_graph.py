"""What a recorded step consists of."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepGraph:
    """One shape, recorded."""

    graph: torch.cuda.CUDAGraph
    logits: Tensor
    """`[outputs, vocabulary]`, written by a replay."""
    draw: torch.cuda.CUDAGraph | None = None
    """Chooses the tokens anew, by the numbers that were filled in; None where that was not recorded."""


@dataclass(frozen=True)
class Recordings:
    """What was recorded of what there is to record."""

    count: int
    """Of all."""
    made: int
    left_bytes: int
    """Of the logits that the others would keep: each has its own."""
