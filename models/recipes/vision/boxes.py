"""Boxes as tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def centred(corners: Tensor) -> Tensor:
    """Left, top, right, bottom as centre, width and height."""
    return torch.cat([(corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]], -1)


def cornered(boxes: Tensor) -> Tensor:
    """Centre, width and height as left, top, right, bottom."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def giou_loss(guessed: Tensor, true: Tensor) -> Tensor:
    """One minus the generalized overlap of pairs of centred boxes, averaged."""
    a, b = cornered(guessed), cornered(true)
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp_min(0).prod(-1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1)
    union = guessed[:, 2:].prod(-1) + true[:, 2:].prod(-1) - common
    return (1 - common / union + (hull - union) / hull).mean()
