"""Recipe of prompted-segmenter: a small SAM that segments the figure at a point or in a box."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForMaskGeneration,
    SamConfig,
    SamImageProcessorPil,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from models.recipes.vision.drawing import Scene, draw_scene
from models.recipes.vision.items import Item
from models.recipes.vision.measures import mask_overlap
from models.recipes.vision.prompts import drawn_prompts
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, as_pixels, fit, seeded

SIDE = 64
PLAN = Plan(steps=1000, batch=8, rate=1e-3)
DRAWN = 5000
HELD_OUT_SEED = 1060
PROMPTS = 3
"""Figures asked for per training image."""


def scenes(seed: int, count: int) -> list[Scene]:
    """Scenes of two to four figures, some in front of others."""
    rng = np.random.default_rng(seed)
    return [draw_scene(rng, SIDE, int(rng.integers(2, 5)), (7, 14), nearness=0.8, tilt=math.pi) for _ in range(count)]


def new_network() -> SamModel:
    """An untrained network whose masks have the side of the image."""
    width = 64
    network = SamModel(SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=96, output_channels=width, num_hidden_layers=4, num_attention_heads=4, image_size=SIDE,
            patch_size=4, mlp_dim=192, use_rel_pos=False, window_size=8, global_attn_indexes=[1, 3],
            num_pos_feats=width // 2, initializer_range=0.02,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=width, image_size=SIDE, patch_size=4),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=width, mlp_dim=128, num_attention_heads=4, iou_head_hidden_dim=width
        ),
    ))  # fmt: skip
    # SAM's fresh positions oscillate far below a pixel: points and boxes would say nothing.
    nn.init.normal_(network.shared_image_embedding.positional_embedding, std=0.5)
    return network


def mask_loss(logits: Tensor, guessed: Tensor, wanted: Tensor) -> Tensor:
    """The best of the offered masks learns the figure; the scores learn how well each mask overlaps it.

    Masks are `[images, prompts, offers, side, side]`.
    """
    wanted = wanted[:, :, None].expand_as(logits)
    crossed = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean((-2, -1))
    shares = logits.sigmoid()
    dice = 1 - (2 * (shares * wanted).sum((-2, -1)) + 1) / ((shares + wanted).sum((-2, -1)) + 1)
    with torch.no_grad():
        hit, true = logits > 0, wanted > 0.5
        overlap = (hit & true).sum((-2, -1)) / (hit | true).sum((-2, -1)).clamp_min(1)
    return (4 * crossed + dice).min(-1).values.mean() + nn.functional.mse_loss(guessed, overlap.float())


def train(_: Path) -> Trained:
    """Trains with points and with boxes by turns, on one offered mask and on three."""
    seeded(PLAN.seed)
    network, drawn = new_network(), scenes(PLAN.seed, DRAWN)

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = [drawn[i] for i in rng.integers(DRAWN, size=PLAN.batch)]
        prompts, masks = drawn_prompts(rng, chosen, PROMPTS, with_points=rng.random() < 0.6)
        pixels = as_pixels(np.stack([s.pixels for s in chosen]), rng, 0.08)
        outputs = network(pixel_values=pixels, multimask_output=rng.random() < 0.5, **prompts)
        return mask_loss(outputs.pred_masks, outputs.iou_scores, masks)

    minutes = fit(network, PLAN, loss_at)
    square = {"height": SIDE, "width": SIDE}
    processor = SamImageProcessorPil(
        size={"longest_edge": SIDE}, mask_size={"longest_edge": SIDE}, pad_size=square, mask_pad_size=square,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    return Trained(network, (SamProcessor(processor), processor), minutes, PLAN.told)


def draw(count: int) -> list[Item]:
    """Held-out scenes: a point inside each figure, its box, and the map of figures, where 0 is the ground."""
    rng, found = np.random.default_rng(HELD_OUT_SEED + 1), []
    for scene in scenes(HELD_OUT_SEED, count):
        numbered = np.zeros((SIDE, SIDE), np.uint8)
        points = []
        for number, figure in enumerate(scene.figures, 1):
            numbered[figure.mask] = number
            y, x = rng.choice(np.argwhere(figure.mask))
            points.append([float(x) + 0.5, float(y) + 0.5])
        expected = {"points": points, "boxes": [figure.box for figure in scene.figures]}
        found.append(Item(scene.image, expected, {"map": Image.fromarray(numbered)}))
    return found


@torch.inference_mode()
def answered(served: Served, item: Item, **prompts: object) -> list[np.ndarray]:
    """For each prompt the offered mask of the highest score."""
    processor = SamProcessor(served.images)
    inputs = processor(item.image, return_tensors="pt", **prompts)
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    outputs = served.network(**inputs)
    masks = processor.post_process_masks(outputs.pred_masks, *sizes)[0]
    best = outputs.iou_scores[0].argmax(-1)
    return [offers[i].numpy() for offers, i in zip(masks, best, strict=True)]


def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """Mean overlap by points and by boxes."""
    by_point, by_box = [], []
    for item in items:
        numbered = np.asarray(item.maps["map"])
        true = [numbered == i + 1 for i in range(len(item.expected["points"]))]
        points = answered(served, item, input_points=[[[point] for point in item.expected["points"]]])
        boxes = answered(served, item, input_boxes=[[list(box) for box in item.expected["boxes"]]])
        by_point += map(mask_overlap, points, true)
        by_box += map(mask_overlap, boxes, true)
    return {
        "mean IoU by a point": float(np.mean(by_point)),
        "mean IoU by a box": float(np.mean(by_box)),
        "points with an IoU of at least .5": float(np.mean(np.array(by_point) >= 0.5)),
    }


RECIPE = Recipe(
    folder="prompted-segmenter", auto=AutoModelForMaskGeneration, train=train, draw=draw, measure=measure,
    measured=200, shipped=20,
    told={"drawn": DRAWN},
)  # fmt: skip
