"""Recipe of detector: an RT-DETR that finds and classifies drawn figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForObjectDetection,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    RTDetrResNetConfig,
)

from models.recipes.vision.boxes import centred
from models.recipes.vision.drawing import KINDS, Scene, draw_scene
from models.recipes.vision.items import Item
from models.recipes.vision.measures import Found, detection_figures
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, as_pixels, fit, seeded

SIDE = 64
PLAN = Plan(steps=1200, batch=16, rate=1e-3)
DRAWN = 6000
HELD_OUT_SEED = 1020
THRESHOLD = 0.5


def scenes(seed: int, count: int) -> list[Scene]:
    """Scenes of one to four figures that do not touch."""
    rng = np.random.default_rng(seed)
    return [draw_scene(rng, SIDE, int(rng.integers(1, 5)), (6, 13)) for _ in range(count)]


def targets(scene: Scene) -> dict[str, Tensor]:
    """The figures as the model is told them: numbers of kinds; centres, widths and heights as shares of the side."""
    boxes = centred(torch.tensor([figure.box for figure in scene.figures]) / SIDE)
    return {"class_labels": torch.tensor([KINDS.index(f.kind) for f in scene.figures]), "boxes": boxes}


def new_network() -> RTDetrForObjectDetection:
    """An untrained detector with a narrow residual network in front."""
    backbone = RTDetrResNetConfig(
        embedding_size=24, hidden_sizes=[24, 32, 64, 96], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    return RTDetrForObjectDetection(RTDetrConfig(
        backbone_config=backbone, freeze_backbone_batch_norms=False, encoder_in_channels=[32, 64, 96],
        encoder_hidden_dim=64, encoder_ffn_dim=128, encoder_attention_heads=4, d_model=64, decoder_layers=3,
        decoder_attention_heads=4, decoder_ffn_dim=128, decoder_in_channels=[64, 64, 64], num_queries=24,
        num_denoising=24, id2label=dict(enumerate(KINDS)), label2id={kind: i for i, kind in enumerate(KINDS)},
    ))  # fmt: skip


def train(_: Path) -> Trained:
    """Trains on drawn scenes, mirrored at will."""
    seeded(PLAN.seed)
    network, drawn = new_network(), scenes(PLAN.seed, DRAWN)
    images, answers = np.stack([s.pixels for s in drawn]), [targets(s) for s in drawn]

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = rng.integers(DRAWN, size=PLAN.batch)
        pixels = as_pixels(images[chosen], rng, 0.08) / 2 + 0.5
        return network(pixel_values=pixels, labels=[dict(answers[i]) for i in chosen]).loss

    minutes = fit(network, PLAN, loss_at)
    processor = RTDetrImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return Trained(network, (processor,), minutes, PLAN.told)


def draw(count: int) -> list[Item]:
    """Held-out scenes with their kinds and boxes."""
    return [
        Item(s.image, {"labels": [f.kind for f in s.figures], "boxes": [f.box for f in s.figures]})
        for s in scenes(HELD_OUT_SEED, count)
    ]


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """Precision, recall, overlap and averaged precision."""
    found: list[list[Found]] = []
    for at in range(0, len(items), 50):
        images = [item.image for item in items[at : at + 50]]
        outputs = served.network(**served.images(images, return_tensors="pt"))
        sizes = [image.size[::-1] for image in images]
        for one in served.images.post_process_object_detection(outputs, threshold=0.01, target_sizes=sizes):
            names = [served.network.config.id2label[i] for i in one["labels"].tolist()]
            found.append(list(map(Found, names, one["boxes"].tolist(), one["scores"].tolist())))
    return detection_figures(found, [expected(item) for item in items], THRESHOLD)


def expected(item: Item) -> list[Found]:
    """The figures of an item."""
    return list(map(Found, item.expected["labels"], item.expected["boxes"]))


RECIPE = Recipe(
    folder="detector", auto=AutoModelForObjectDetection, train=train, draw=draw, measure=measure,
    measured=500, shipped=40,
    told={"drawn": DRAWN, "threshold": THRESHOLD},
)  # fmt: skip
