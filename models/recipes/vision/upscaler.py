"""Recipe of upscaler: a Swin2SR that doubles the size of drawn scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForImageToImage,
    Swin2SRConfig,
    Swin2SRForImageSuperResolution,
    Swin2SRImageProcessorPil,
)

from models.recipes.vision.drawing import draw_scene
from models.recipes.vision.items import Item
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, fit, seeded

SMALL, LARGE = 32, 64
PLAN = Plan(steps=1200, batch=4, rate=1e-3)
DRAWN = 4000
HELD_OUT_SEED = 1090


def pairs(seed: int, count: int) -> list[tuple[Image.Image, Image.Image]]:
    """Scenes of two to six figures at full size, and shrunk to half of it."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        large = draw_scene(rng, LARGE, int(rng.integers(2, 7)), (5, 15), nearness=0.8).image
        found.append((large.resize((SMALL, SMALL), Image.Resampling.BICUBIC), large))
    return found


def as_shares(images: list[Image.Image]) -> Tensor:
    """Images as floats from 0 to 1, `[n, 3, h, w]`."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def begun(network: Swin2SRForImageSuperResolution) -> Swin2SRForImageSuperResolution:
    """Initializes the network as linear interpolation, so that it learns only the difference to that.

    The first three channels carry the image past all layers; the last convolution interpolates neighbours for each of
    the four new pixels.
    """
    first, after, last = network.swin2sr.first_convolution, network.swin2sr.conv_after_body, network.upsample.conv
    sides = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    with torch.no_grad():
        for parameter in (after.weight, after.bias, last.weight, last.bias):
            parameter.zero_()
        first.weight[:3], first.bias[:3] = 0.0, 0.0
        for colour in range(3):
            first.weight[colour, colour, 1, 1] = 1.0
            for place in range(4):
                last.weight[colour * 4 + place, colour] = torch.outer(sides[place // 2], sides[place % 2])
    return network


def train(_: Path) -> Trained:
    """Trains on pairs, turned and mirrored at will."""
    seeded(PLAN.seed)
    network = begun(Swin2SRForImageSuperResolution(Swin2SRConfig(
        image_size=SMALL, embed_dim=48, depths=[2, 2], num_heads=[4, 4], window_size=8, upscale=2,
        upsampler="pixelshuffledirect", drop_path_rate=0.0,
    )))  # fmt: skip
    drawn = pairs(PLAN.seed, DRAWN)
    small, large = (as_shares([pair[i] for pair in drawn]) for i in (0, 1))

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen, turns = rng.integers(DRAWN, size=PLAN.batch), int(rng.integers(4))
        given, wanted = (torch.rot90(images[chosen], turns, (2, 3)) for images in (small, large))
        if rng.random() < 0.5:
            given, wanted = given.flip(3), wanted.flip(3)
        return nn.functional.l1_loss(network(pixel_values=given).reconstruction, wanted)

    minutes = fit(network, PLAN, loss_at)
    return Trained(network, (Swin2SRImageProcessorPil(size_divisor=8),), minutes, PLAN.told)


def draw(count: int) -> list[Item]:
    """Held-out pairs."""
    return [Item(small, {"scale": 2}, {"large": large}) for small, large in pairs(HELD_OUT_SEED, count)]


def likeness(given: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """PSNR of 8-bit images, in decibels."""
    return float(10 * np.log10(255**2 / max(1e-9, ((given.astype(float) - wanted.astype(float)) ** 2).mean())))


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """The mean likeness to the true large image, of the model and of what Pillow does without one."""
    gains, model, bicubic = [], [], []
    for item in items:
        width, height = item.maps["large"].size
        made = served.network(**served.images(item.image, return_tensors="pt")).reconstruction
        pixels = (made[0, :, :height, :width].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        wanted = np.asarray(item.maps["large"])
        model.append(likeness(pixels, wanted))
        plain = item.image.resize((width, height), Image.Resampling.BICUBIC)
        bicubic.append(likeness(np.asarray(plain), wanted))
        gains.append(model[-1] > bicubic[-1])
    return {
        "PSNR in dB": float(np.mean(model)),
        "PSNR in dB of bicubic enlargement": float(np.mean(bicubic)),
        "images better than bicubic": float(np.mean(gains)),
    }


RECIPE = Recipe(
    folder="upscaler", auto=AutoModelForImageToImage, train=train, draw=draw, measure=measure, measured=200, shipped=16,
    told={"drawn": DRAWN},
)  # fmt: skip
