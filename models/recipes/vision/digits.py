"""Recipe of digits: a vision transformer that classifies handwritten digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from models.recipes.vision.digit_images import SOURCE, WORDS, digit_images
from models.recipes.vision.items import Item
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, as_pixels, fit, seeded

SIDE = 16
PLAN = Plan(steps=2400, batch=64, rate=1e-3)


def train(_: Path) -> Trained:
    """Trains on shifted, turned and scaled digits."""
    seeded(PLAN.seed)
    network = ViTForImageClassification(ViTConfig(
        image_size=SIDE, patch_size=4, hidden_size=96, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=192, hidden_dropout_prob=0.1, layer_norm_eps=1e-6,
        id2label=dict(enumerate(WORDS)), label2id={word: i for i, word in enumerate(WORDS)},
    ))  # fmt: skip
    images, digits = digit_images(held_out=False)
    pixels = nn.functional.interpolate(as_pixels(images), SIDE, mode="bilinear", antialias=True)

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = rng.integers(len(digits), size=PLAN.batch)
        moved = moved_about(pixels[chosen], rng)
        logits = network(pixel_values=moved).logits
        return nn.functional.cross_entropy(logits, torch.from_numpy(digits[chosen]), label_smoothing=0.05)

    minutes = fit(network, PLAN, loss_at)
    processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_convert_rgb=True)
    return Trained(network, (processor,), minutes, PLAN.told + ", digits shifted, turned and scaled a little")


def moved_about(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Images turned by up to 11 degrees, scaled by a tenth and shifted by a tenth, each its own way."""
    count = len(pixels)
    turn, scale = rng.uniform(-0.2, 0.2, count), rng.uniform(0.9, 1.1, count)
    shift = rng.uniform(-0.1, 0.1, (count, 2))
    rows = [[scale * np.cos(turn), -scale * np.sin(turn), shift[:, 0]],
            [scale * np.sin(turn), scale * np.cos(turn), shift[:, 1]]]  # fmt: skip
    maps = torch.from_numpy(np.array(rows).transpose(2, 0, 1).astype(np.float32))
    grid = nn.functional.affine_grid(maps, list(pixels.shape), align_corners=False)
    return nn.functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def draw(count: int) -> list[Item]:
    """Held-out digits."""
    images, digits = digit_images(held_out=True)
    return [Item(Image.fromarray(images[i]), {"label": WORDS[digits[i]]}) for i in range(count)]


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """How many digits are named right."""
    logits = served.network(**served.images([item.image for item in items], return_tensors="pt")).logits
    named = [served.network.config.id2label[i] for i in logits.argmax(-1).tolist()]
    return {"accuracy": float(np.mean([n == item.expected["label"] for n, item in zip(named, items, strict=True)]))}


RECIPE = Recipe(
    folder="digits", auto=AutoModelForImageClassification, train=train, draw=draw, measure=measure,
    measured=450, shipped=50,
    told={"digits": SOURCE},
)  # fmt: skip
