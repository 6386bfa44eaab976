"""The shared training loop: AdamW or Muon, warm-up and cosine schedule, clipped gradients, half-precision result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from models.recipes.chat.optimizer import new_optimizer


@dataclass(frozen=True)
class Plan:
    """How a model is trained."""

    steps: int
    batch: int
    rate: float
    seed: int = 20
    decay: float = 0.05
    warm_up: float = 0.05
    muon: bool = False
    """Whether Muon trains the matrices, and AdamW only the rest."""
    of: str = "images"

    @property
    def told(self) -> str:
        """The plan in the words of a card."""
        optimizer = "Muon for the matrices" if self.muon else "AdamW"
        return (
            f"{self.steps:,} steps of {self.batch} {self.of}, {optimizer} with a highest rate of {self.rate:g}, seed "
            f"{self.seed}"
        )


def fit(
    network: nn.Module,
    plan: Plan,
    loss_at: Callable[[np.random.Generator], Tensor],
    kept: torch.dtype = torch.bfloat16,
) -> float:
    """Trains the network on the losses of drawn batches, leaves it in `kept`; returns minutes of processor time."""
    torch.set_num_threads(1)
    network.float().train()
    optimizer = optimizer_of(network, plan)
    schedule = get_cosine_schedule_with_warmup(optimizer, int(plan.steps * plan.warm_up), plan.steps)
    rng, began, mean = np.random.default_rng(plan.seed), time.process_time(), 0.0
    for step in range(1, plan.steps + 1):
        loss = loss_at(rng)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        mean += (loss.item() - mean) / min(step, 50)
        if step % 100 == 0:
            print(f"step {step:5} of {plan.steps}  loss {mean:8.4f}  {time.process_time() - began:5.0f} s", flush=True)
    network.to(kept).eval()
    return (time.process_time() - began) / 60


def optimizer_of(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """The optimizer a plan names."""
    if plan.muon:
        return new_optimizer(network, plan.rate)
    return torch.optim.AdamW(groups(network, plan.decay), lr=plan.rate, betas=(0.9, 0.98))


def groups(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases, norms and single numbers do not."""
    learnt = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learnt if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
    ]


def seeded(seed: int) -> None:
    """Fixes what torch draws: fresh weights, dropout, sampled points."""
    torch.manual_seed(seed)


def as_pixels(images: np.ndarray, rng: np.random.Generator | None = None, noise: float = 0.0) -> Tensor:
    """8-bit `[n, h, w, 3]` as floats from -1 to 1, `[n, 3, h, w]`; with noise of up to that deviation when training."""
    pixels = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).contiguous() / 127.5 - 1
    if rng is not None and noise:
        deviation = rng.uniform(0, noise, (len(images), 1, 1, 1))
        pixels += torch.from_numpy((rng.standard_normal(pixels.shape) * deviation).astype(np.float32))
    return pixels
