"""Recipe of panoptic-segmenter: a Mask2Former for landscapes, with sky and grass as stuff and the rest as things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForUniversalSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
    SwinConfig,
)

from models.recipes.vision.items import Item
from models.recipes.vision.landscape import LABELS, SIDE, STUFF, draw_landscapes
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.segments import Segment, instance_figures, panoptic_quality
from models.recipes.vision.training import Plan, as_pixels, fit, seeded

PLAN = Plan(steps=1000, batch=8, rate=1e-3)
DRAWN = 6000
HELD_OUT_SEED = 1050
THRESHOLD = 0.5


def new_network() -> Mask2FormerForUniversalSegmentation:
    """An untrained network whose masks have half the side of the image."""
    backbone = SwinConfig(
        image_size=SIDE, patch_size=2, embed_dim=24, depths=[1, 1, 2, 1], num_heads=[2, 2, 4, 4], window_size=4,
        drop_path_rate=0.0, out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(
        backbone_config=backbone, feature_size=64, mask_feature_size=64, hidden_dim=64, encoder_feedforward_dim=128,
        encoder_layers=1, decoder_layers=4, num_attention_heads=4, dim_feedforward=128, num_queries=12,
        train_num_points=512, id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    ))  # fmt: skip


def train(_: Path) -> Trained:
    """Trains on drawn landscapes."""
    seeded(PLAN.seed)
    network, drawn = new_network(), draw_landscapes(PLAN.seed, DRAWN)
    images, masks = np.stack([s.pixels for s in drawn]), [torch.from_numpy(s.masks).float() for s in drawn]
    labels = [torch.tensor([LABELS.index(label) for label in s.labels]) for s in drawn]

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = rng.integers(DRAWN, size=PLAN.batch)
        return network(
            pixel_values=as_pixels(images[chosen], rng, 0.08), mask_labels=[masks[i] for i in chosen],
            class_labels=[labels[i] for i in chosen],
        ).loss  # fmt: skip

    minutes = fit(network, PLAN, loss_at)
    processor = Mask2FormerImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, num_labels=len(LABELS)
    )
    return Trained(network, (processor,), minutes, PLAN.told)


def draw(count: int) -> list[Item]:
    """Held-out landscapes: the label of each segment, and the map of segments."""
    return [
        Item(Image.fromarray(s.pixels), {"segments": list(s.labels)}, {"map": Image.fromarray(s.numbered)})
        for s in draw_landscapes(HELD_OUT_SEED, count)
    ]


def expected(item: Item) -> list[Segment]:
    """The segments of an item; those that are hidden altogether do not count."""
    numbered = np.asarray(item.maps["map"])
    segments = [Segment(label, numbered == i) for i, label in enumerate(item.expected["segments"])]
    return [s for s in segments if s.mask.any()]


def segments_of(served: Served, answers: list[dict]) -> Iterator[list[Segment]]:
    """What post-processing yields, as segments."""
    for answer in answers:
        map_, names = answer["segmentation"].numpy(), served.network.config.id2label
        yield [Segment(names[s["label_id"]], map_ == s["id"], s["score"]) for s in answer["segments_info"]]


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """Panoptic quality of whole landscapes; precision, recall and overlap of single things."""
    whole, single = [], []
    fused = {LABELS.index(label) for label in STUFF}
    for at in range(0, len(items), 25):
        images = [item.image for item in items[at : at + 25]]
        outputs = served.network(**served.images(images, return_tensors="pt"))
        sizes = [image.size[::-1] for image in images]
        whole += segments_of(served, served.images.post_process_panoptic_segmentation(
            outputs, threshold=THRESHOLD, label_ids_to_fuse=fused, target_sizes=sizes
        ))  # fmt: skip
        single += segments_of(served, served.images.post_process_instance_segmentation(
            outputs, threshold=THRESHOLD, target_sizes=sizes
        ))  # fmt: skip
    wanted = [expected(item) for item in items]
    return panoptic_quality(whole, wanted) | instance_figures(
        [[s for s in one if s.label not in STUFF] for one in single],
        [[s for s in one if s.label not in STUFF] for one in wanted],
    )


RECIPE = Recipe(
    folder="panoptic-segmenter", auto=AutoModelForUniversalSegmentation, train=train, draw=draw, measure=measure,
    measured=300, shipped=20,
    told={"drawn": DRAWN, "threshold": THRESHOLD},
)  # fmt: skip
