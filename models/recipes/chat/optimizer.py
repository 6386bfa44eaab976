"""The optimizer: Muon for the matrices, AdamW for embeddings and norms. Muon learns several times more per example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

WEIGHT_DECAY = 0.05
EMBEDDING_RATE = 0.3
"""Rate of AdamW, as a share of Muon's."""


class PairedOptimizer(torch.optim.Optimizer):
    """Two optimizers that step as one, each with its own parameters."""

    def __init__(self, first: torch.optim.Optimizer, second: torch.optim.Optimizer) -> None:
        self._parts = (first, second)
        super().__init__([*first.param_groups, *second.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Steps both, at the rates a schedule has set on this one."""
        loss = None if closure is None else closure()
        groups = iter(self.param_groups)
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = next(groups)["lr"]
            part.step()
        return loss


def new_optimizer(network: nn.Module, rate: float) -> PairedOptimizer:
    """Sorts the parameters of a network to Muon and AdamW."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name else others).append(parameter)
    return PairedOptimizer(
        torch.optim.Muon(matrices, lr=rate, weight_decay=WEIGHT_DECAY),
        torch.optim.AdamW(others, lr=rate * EMBEDDING_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    )
