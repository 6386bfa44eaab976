"""The CUDA graphs of one recorded step."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepGraph:
    """The recording of one shape."""

    graph: torch.cuda.CUDAGraph
    logits: Tensor
    """`[outputs, vocabulary]`, written by each replay."""
    draw: torch.cuda.CUDAGraph | None = None
    """Draws the tokens from the logits, with the sampling numbers that were filled in; None if it is not recorded."""


@dataclass(frozen=True)
class Recordings:
    """How much was recorded."""

    count: int
    """Number of all shapes to record."""
    made: int
    left_bytes: int
    """Bytes of logits of the shapes that were not recorded: each recording has its own."""
