"""Recipe of semantic-segmenter: a SegFormer that classifies every pixel of a drawn landscape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForSemanticSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
)

from models.recipes.vision.items import Item
from models.recipes.vision.landscape import LABELS, SIDE, draw_landscapes
from models.recipes.vision.measures import mask_overlap
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, as_pixels, fit, seeded

PLAN = Plan(steps=900, batch=12, rate=1e-3)
DRAWN = 5000
HELD_OUT_SEED = 1040


def train(_: Path) -> Trained:
    """Trains on drawn landscapes."""
    seeded(PLAN.seed)
    network = SegformerForSemanticSegmentation(SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[32, 48, 64, 96], num_attention_heads=[1, 2, 2, 4], mlp_ratios=[2] * 4,
        patch_sizes=[5, 3, 3, 3], strides=[2, 2, 2, 2], decoder_hidden_size=64, classifier_dropout_prob=0.0,
        drop_path_rate=0.0,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    ))  # fmt: skip
    drawn = draw_landscapes(PLAN.seed, DRAWN)
    images, maps = np.stack([s.pixels for s in drawn]), torch.from_numpy(np.stack([s.labelled for s in drawn])).long()

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = rng.integers(DRAWN, size=PLAN.batch)
        logits = network(pixel_values=as_pixels(images[chosen], rng, 0.1)).logits
        return nn.functional.cross_entropy(enlarged(logits), maps[chosen])

    minutes = fit(network, PLAN, loss_at)
    processor = SegformerImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return Trained(network, (processor,), minutes, PLAN.told)


def enlarged(logits: Tensor) -> Tensor:
    """Logits at the size of the image."""
    return nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)


def draw(count: int) -> list[Item]:
    """Held-out landscapes with their maps of labels."""
    return [
        Item(Image.fromarray(s.pixels), {"labels": list(LABELS)}, {"map": Image.fromarray(s.labelled)})
        for s in draw_landscapes(HELD_OUT_SEED, count)
    ]


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """The share of pixels named right, and the overlap per label over all items together."""
    named = []
    for at in range(0, len(items), 50):
        images = [item.image for item in items[at : at + 50]]
        outputs = served.network(**served.images(images, return_tensors="pt"))
        sizes = [image.size[::-1] for image in images]
        named += [m.numpy() for m in served.images.post_process_semantic_segmentation(outputs, target_sizes=sizes)]
    found, wanted = np.stack(named), np.stack([np.asarray(item.maps["map"]) for item in items])
    overlaps = {f"IoU, {label}": mask_overlap(found == i, wanted == i) for i, label in enumerate(LABELS)}
    return {"pixels": float((found == wanted).mean()), "mean IoU": float(np.mean(list(overlaps.values())))} | overlaps


RECIPE = Recipe(
    folder="semantic-segmenter", auto=AutoModelForSemanticSegmentation, train=train, draw=draw, measure=measure,
    measured=400, shipped=24,
    told={"drawn": DRAWN},
)  # fmt: skip
