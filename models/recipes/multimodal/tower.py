"""Pre-trains the vision tower to classify the content of each grid cell, before the language model is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from models.recipes.multimodal.board import SIDE, SIZES, Picture, draw_picture
from models.recipes.vision.digits import moved_about
from models.recipes.vision.drawing import COLOURS, KINDS
from models.recipes.vision.training import Plan, as_pixels, fit

PATCH = 20
ALONG = SIDE // PATCH
PATCHES = ALONG * ALONG
WIDTH = 128
UNTOLD = -100
KIND, COLOUR, SIZE, PLACE, DIGIT = range(5)
CLASSES = (2 + len(KINDS), 1 + len(COLOURS), 1 + len(SIZES), 9, 10)
"""Number of classes in each aspect of a grid cell: kind (figure, digit or nothing), colour, size, place, digit."""
PLACES_OF_PATCHES = np.array([3 * (p // ALONG * 3 // ALONG) + p % ALONG * 3 // ALONG for p in range(PATCHES)])


def tower_config() -> CLIPVisionConfig:
    """The shape of the tower."""
    return CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=4, num_attention_heads=4,
        image_size=SIDE, patch_size=PATCH,
    )  # fmt: skip


def truths(picture: Picture) -> np.ndarray:
    """The class of every patch in each of five aspects, `[patches, 5]`."""
    ninths = np.zeros((9, 5), np.int64)
    ninths[:, PLACE], ninths[:, DIGIT] = np.arange(9), UNTOLD
    if picture.digit is not None:
        ninths[:, KIND], ninths[:, DIGIT] = 1 + len(KINDS), picture.digit
    for piece in picture.pieces:
        kind, colour, size = KINDS.index(piece.kind), tuple(COLOURS).index(piece.colour), SIZES.index(piece.size)
        ninths[piece.place, :PLACE] = 1 + kind, 1 + colour, 1 + size
    return ninths[PLACES_OF_PATCHES]


def seen(pictures: Sequence[Picture], rng: np.random.Generator) -> Tensor:
    """Augments pictures for training: a little noise; digits are shifted, rotated and scaled."""
    pixels = as_pixels(np.stack([picture.pixels for picture in pictures]), rng, 0.06)
    digits = torch.tensor([picture.digit is not None for picture in pictures])
    if digits.any():
        pixels[digits] = moved_about(pixels[digits], rng)
    return pixels


class TaughtTower(nn.Module):
    """The tower with one linear head per aspect."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = CLIPVisionModel(tower_config())
        self.read = nn.Linear(WIDTH, sum(CLASSES))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Logits of every patch for each aspect, each `[pictures, patches, classes]`."""
        patches = self.tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
        return self.read(patches).split(CLASSES, -1)

    def loss(self, pictures: Sequence[Picture], rng: np.random.Generator) -> Tensor:
        """The cross entropy, averaged over patches and summed over aspects."""
        told = torch.from_numpy(np.stack([truths(picture) for picture in pictures])).flatten(0, 1)
        scores = self(seen(pictures, rng))
        return sum(
            (
                nn.functional.cross_entropy(s.flatten(0, 1), told[:, i], ignore_index=UNTOLD)
                for i, s in enumerate(scores)
            ),
            start=torch.zeros(()),
        )


def taught_tower(plan: Plan) -> tuple[CLIPVisionModel, float]:
    """Returns a trained tower, and the minutes of its training."""
    taught = TaughtTower()

    def loss_at(rng: np.random.Generator) -> Tensor:
        return taught.loss([draw_picture(rng, held_out=False, digits=0.3) for _ in range(plan.batch)], rng)

    minutes = fit(taught, plan, loss_at)
    return taught.tower.float(), minutes
