"""Monotonic alignment search of VITS: assigns the frames of speech to the tokens of its text."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def likelihoods(latents: Tensor, means: Tensor, log_deviations: Tensor) -> Tensor:
    """Log densities `[n, frames, tokens]` of latents `[n, channels, frames]` by Gaussians `[n, tokens, channels]`."""
    precision = torch.exp(-2 * log_deviations)
    constant = (-log_deviations - 0.5 * means**2 * precision).sum(-1)
    squares = (-0.5 * latents**2).transpose(1, 2) @ precision.transpose(1, 2)
    return squares + latents.transpose(1, 2) @ (means * precision).transpose(1, 2) + constant[:, None]


def durations(densities: Tensor, tokens: Tensor, frames: Tensor) -> Tensor:
    """Frames `[n, tokens]` that each token takes on the likeliest way; every token takes one at least."""
    densities_ = densities.detach().numpy()
    ways = [way(d[:f, :t]) for d, t, f in zip(densities_, tokens.tolist(), frames.tolist(), strict=True)]
    found = np.zeros((len(ways), densities.shape[2]), np.float32)
    for row, counts in zip(found, ways, strict=True):
        row[: len(counts)] = counts
    return torch.from_numpy(found)


def way(densities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The frames of each token on the likeliest monotonic path through `[frames, tokens]`."""
    frames, tokens = densities.shape
    best = np.full(tokens, -np.inf)
    best[0] = densities[0, 0]
    moved = np.zeros((frames, tokens), bool)
    for at in range(1, frames):
        before = np.concatenate([[-np.inf], best[:-1]])
        moved[at] = before > best
        best = np.maximum(before, best) + densities[at]
    counts, token = np.zeros(tokens, np.int64), tokens - 1
    for at in range(frames - 1, -1, -1):
        counts[token] += 1
        token -= int(moved[at, token])
    return counts
