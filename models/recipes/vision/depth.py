"""Recipe of depth: a Depth Anything that predicts metres for every pixel of a drawn room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForDepthEstimation,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessorPil,
)

from models.recipes.vision.items import Item
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.room import FARTHEST, SIDE, Room, draw_room
from models.recipes.vision.training import Plan, as_pixels, fit, seeded

PLAN = Plan(steps=800, batch=12, rate=1e-3)
DRAWN = 5000
HELD_OUT_SEED = 1080
PER_METRE = 1000
CLOSE = 1.25


def rooms(seed: int, count: int) -> list[Room]:
    """Drawn rooms."""
    rng = np.random.default_rng(seed)
    return [draw_room(rng) for _ in range(count)]


def new_network() -> DepthAnythingForDepthEstimation:
    """An untrained network that answers in metres."""
    backbone = Dinov2Config(
        image_size=SIDE, patch_size=8, hidden_size=96, num_hidden_layers=4, num_attention_heads=4, mlp_ratio=2,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    return DepthAnythingForDepthEstimation(DepthAnythingConfig(
        backbone_config=backbone, patch_size=8, reassemble_hidden_size=96, neck_hidden_sizes=[24, 32, 48, 64],
        fusion_hidden_size=32, head_hidden_size=16, depth_estimation_type="metric", max_depth=FARTHEST,
    ))  # fmt: skip


def train(_: Path) -> Trained:
    """Trains on the logarithm of depth."""
    seeded(PLAN.seed)
    network, drawn = new_network(), rooms(PLAN.seed, DRAWN)
    images, depths = np.stack([r.pixels for r in drawn]), torch.from_numpy(np.stack([r.depth for r in drawn]))

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = rng.integers(DRAWN, size=PLAN.batch)
        guessed = network(pixel_values=as_pixels(images[chosen], rng, 0.08)).predicted_depth
        return nn.functional.l1_loss(guessed.clamp_min(1e-3).log(), depths[chosen].log())

    minutes = fit(network, PLAN, loss_at)
    processor = DPTImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return Trained(network, (processor,), minutes, PLAN.told)


def draw(count: int) -> list[Item]:
    """Held-out rooms; the map holds millimetres in 16 bits."""
    return [
        Item(Image.fromarray(r.pixels), {"per_metre": PER_METRE}, {"depth": in_steps(r.depth)})
        for r in rooms(HELD_OUT_SEED, count)
    ]


def in_steps(depth: NDArray[np.float32]) -> Image.Image:
    """Depth as a 16-bit image."""
    return Image.fromarray(np.round(depth * PER_METRE).astype(np.uint16))


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """The mean error as a share of the true depth, in metres, and the share of pixels within a quarter."""
    guessed = []
    for at in range(0, len(items), 50):
        images = [item.image for item in items[at : at + 50]]
        outputs = served.network(**served.images(images, return_tensors="pt"))
        sizes = [image.size[::-1] for image in images]
        done = served.images.post_process_depth_estimation(outputs, target_sizes=sizes)
        guessed += [one["predicted_depth"].numpy() for one in done]
    found = np.stack(guessed)
    true = np.stack([np.asarray(i.maps["depth"]).astype(np.float64) / i.expected["per_metre"] for i in items])
    return {
        "mean error as a share of the depth": float((abs(found - true) / true).mean()),
        "root of mean square error in metres": float(np.sqrt(((found - true) ** 2).mean())),
        "pixels within a factor of 1.25": float((np.maximum(found / true, true / found) < CLOSE).mean()),
        "pixels within a factor of 1.25, mean depth guessed everywhere": float(
            (np.maximum(true.mean() / true, true / true.mean()) < CLOSE).mean()
        ),
    }


RECIPE = Recipe(
    folder="depth", auto=AutoModelForDepthEstimation, train=train, draw=draw, measure=measure, measured=300, shipped=16,
    told={"drawn": DRAWN, "farthest": FARTHEST},
)  # fmt: skip
