"""Recipe of image-text: a small CLIP that embeds digits, coloured figures and their captions in one space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForZeroShotImageClassification,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
)

from models.recipes.vision.captions import PAIRS, all_captions, new_tokenizer, varied
from models.recipes.vision.digit_images import SOURCE, WORDS, digit_images
from models.recipes.vision.drawing import COLOURS, KINDS, draw_scene
from models.recipes.vision.items import Item
from models.recipes.vision.recipe import Recipe, Served, Trained
from models.recipes.vision.training import Plan, as_pixels, fit, seeded

SIDE = 32
PLAN = Plan(steps=2400, batch=48, rate=1e-3)
DRAWN = 6000
HELD_OUT_SEED = 1007
DIGITS = tuple(f"digit {word}" for word in WORDS)


def drawn_figures(seed: int, count: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Images of one figure each, and its colour and kind."""
    rng = np.random.default_rng(seed)
    scenes = [draw_scene(rng, SIDE, 1, (8, 13)) for _ in range(count)]
    return np.stack([s.pixels for s in scenes]), [s.figures[0].words for s in scenes]


class Families:
    """Sets of statements of which exactly one is true of an image: what it is, which kind, which colour."""

    def __init__(self) -> None:
        self.sets = ((*DIGITS, *PAIRS), ("digit", *KINDS), tuple(COLOURS))

    def truths(self, what: str) -> list[int]:
        """The place of the true statement in each set; -1 where the set says nothing of the image."""
        if what in DIGITS:
            return [self.sets[0].index(what), 0, -1]
        colour, kind = what.split()
        return [self.sets[0].index(what), self.sets[1].index(kind), self.sets[2].index(colour)]


def image_loss(network: CLIPModel, pixels: Tensor, texts: list[dict[str, Tensor]], truths: Tensor) -> Tensor:
    """Each image picks its statement in every set, and each statement of the first set its images."""
    scale = network.logit_scale.exp().clamp(max=50)
    images = normalized(network.get_image_features(pixel_values=pixels).pooler_output)
    total = pixels.new_zeros(())
    for number, inputs in enumerate(texts):
        words = normalized(network.get_text_features(**inputs).pooler_output)
        logits = scale * images @ words.T
        total = total + nn.functional.cross_entropy(logits, truths[:, number], ignore_index=-1)
        if number == 0:
            hits = nn.functional.one_hot(truths[:, 0], len(words)).float().T
            present = hits.sum(1) > 0
            spread = hits[present] / hits[present].sum(1, keepdim=True)
            total = total + nn.functional.cross_entropy(logits.T[present], spread)
    return total


def normalized(vectors: Tensor) -> Tensor:
    """Vectors of length one."""
    return vectors / vectors.norm(dim=-1, keepdim=True)


def new_network(vocabulary: int) -> CLIPModel:
    """An untrained CLIP; the last word of the vocabulary ends a text."""
    tower = {"hidden_size": 96, "intermediate_size": 192, "num_attention_heads": 4, "projection_dim": 96}
    text = tower | {
        "num_hidden_layers": 2, "vocab_size": vocabulary, "max_position_embeddings": 32,
        "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1,
    }  # fmt: skip
    vision = tower | {"num_hidden_layers": 3, "image_size": SIDE, "patch_size": 4}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=96))


def train(_: Path) -> Trained:
    """Trains on digits and figures, one third digits."""
    seeded(PLAN.seed)
    tokenizer, families = new_tokenizer(), Families()
    network = new_network(len(tokenizer))
    digits, shown = digit_images(held_out=False)
    figures, what = drawn_figures(PLAN.seed, DRAWN)
    images = np.concatenate([digits, figures])
    truths = torch.tensor([families.truths(w) for w in [*(DIGITS[i] for i in shown), *what]])

    def loss_at(rng: np.random.Generator) -> Tensor:
        few = PLAN.batch // 3
        chosen = np.concatenate([
            rng.integers(len(digits), size=few), rng.integers(len(digits), len(images), PLAN.batch - few),
        ])  # fmt: skip
        texts = [
            tokenizer([varied(rng, s) for s in group], padding=True, return_tensors="pt") for group in families.sets
        ]
        return image_loss(network, as_pixels(images[chosen], rng, 0.1), texts, truths[chosen])

    minutes = fit(network, PLAN, loss_at)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )  # fmt: skip
    return Trained(network, (CLIPProcessor(processor, tokenizer), processor), minutes, PLAN.told)


def draw(count: int) -> list[Item]:
    """Held-out digits and figures by turns."""
    digits, shown = digit_images(held_out=True)
    figures, what = drawn_figures(HELD_OUT_SEED, count // 2 + 1)
    found = []
    for i in range(count // 2 + 1):
        found.append(Item(Image.fromarray(digits[i]), {"label": DIGITS[shown[i]], "set": "digits"}))
        found.append(Item(Image.fromarray(figures[i]), {"label": what[i], "set": "figures"}))
    return found[:count]


@torch.inference_mode()
def embedded(served: Served, images: list[Image.Image], texts: list[str]) -> tuple[Tensor, Tensor]:
    """Images and texts as vectors of length one."""
    words = served.tokenizer(texts, padding=True, return_tensors="pt")
    pixels = served.images(images, return_tensors="pt")
    return (
        normalized(served.network.get_image_features(**pixels).pooler_output),
        normalized(served.network.get_text_features(**words).pooler_output),
    )


def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """How many images get their label among all of their sort, and how well images and texts find each other."""
    figures = {}
    for name, labels in (("digits", DIGITS), ("figures", PAIRS)):
        mine = [item for item in items if item.expected["set"] == name]
        images, words = embedded(served, [i.image for i in mine], [f"This is a photo of {s}." for s in labels])
        picked = [labels[i] for i in (images @ words.T).argmax(-1).tolist()]
        right = [p == i.expected["label"] for p, i in zip(picked, mine, strict=True)]
        figures[f"accuracy, {name} among {len(labels)} labels"] = float(np.mean(right))
    labels = [item.expected["label"] for item in items]
    images, words = embedded(served, [item.image for item in items], all_captions(labels))
    first = [labels[i] for i in (words @ images.T).argmax(-1).tolist()]
    hit = [f == s for f, s in zip(first, sorted(set(labels)), strict=True)]
    return figures | {"text finds an image it describes first": float(np.mean(hit))}


RECIPE = Recipe(
    folder="image-text", auto=AutoModelForZeroShotImageClassification, train=train, draw=draw, measure=measure,
    measured=600, shipped=60, with_text=True,
    told={"digits": SOURCE, "drawn": DRAWN},
)  # fmt: skip
