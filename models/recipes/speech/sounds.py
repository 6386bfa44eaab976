"""Recipe of sounds: a small audio spectrogram transformer that classifies synthetic sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
)

from models.recipes.speech.items import Item
from models.recipes.speech.made_sounds import KINDS, draw_sounds
from models.recipes.speech.recipe import Recipe, Served, Trained
from models.recipes.speech.voices import RATE
from models.recipes.vision.training import Plan, fit, seeded

MELS, FRAMES, PATCH = 64, 192, 16
PLAN = Plan(steps=1200, batch=32, rate=1e-3, of="sounds")
DRAWN, DRAWN_SEED, HELD_OUT_SEED = 3000, 53, 2053
LABELS = tuple(KINDS)


def train(_: Path) -> Trained:
    """Trains on drawn sounds, shifted in time and with bands left out."""
    seeded(PLAN.seed)
    features = ASTFeatureExtractor(sampling_rate=RATE, num_mel_bins=MELS, max_length=FRAMES)
    network = ASTForAudioClassification(ASTConfig(
        hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192, patch_size=PATCH,
        frequency_stride=PATCH, time_stride=PATCH, max_length=FRAMES, num_mel_bins=MELS, hidden_dropout_prob=0.1,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    ))  # fmt: skip
    drawn = draw_sounds(DRAWN_SEED, DRAWN, held_out=False)
    values = torch.cat([features(s.samples, sampling_rate=RATE, return_tensors="pt")["input_values"] for s in drawn])
    truths = torch.tensor([LABELS.index(s.kind) for s in drawn])

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = torch.from_numpy(rng.integers(DRAWN, size=PLAN.batch))
        logits = network(patched(rng, values[chosen])).logits
        return nn.functional.cross_entropy(logits, truths[chosen], label_smoothing=0.05)

    minutes = fit(network, PLAN, loss_at)
    return Trained(network, (features,), minutes, f"{PLAN.told}, of {DRAWN:,} in all, with bands left out by chance")


def patched(rng: np.random.Generator, values: Tensor) -> Tensor:
    """Spectrograms `[n, frames, mels]`, turned in time by up to a tenth, and a band of up to six mels left out."""
    values = torch.roll(values, int(rng.integers(-FRAMES // 10, FRAMES // 10 + 1)), 1)
    first = int(rng.integers(MELS - 6))
    values[:, :, first : first + int(rng.integers(7))] = 0
    return values


def draw(count: int) -> list[Item]:
    """Held-out sounds."""
    return [Item({"label": s.kind}, s.samples, RATE) for s in draw_sounds(HELD_OUT_SEED, count, held_out=True)]


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """How many sounds are named right, and the least of any kind."""
    inputs = [served.reader(item.samples, sampling_rate=item.rate, return_tensors="pt") for item in items]
    named = [served.network.config.id2label[int(served.network(**i).logits.argmax(-1))] for i in inputs]
    right = {label: [] for label in LABELS}
    for name, item in zip(named, items, strict=True):
        right[item.expected["label"]].append(name == item.expected["label"])
    shares = [float(np.mean(marks)) for marks in right.values()]
    return {
        "accuracy": float(np.mean([mark for marks in right.values() for mark in marks])),
        "accuracy, worst kind": min(shares),
    }


RECIPE = Recipe(
    folder="sounds", auto=AutoModelForAudioClassification, reader=AutoFeatureExtractor, train=train, draw=draw,
    measure=measure, measured=600, shipped=40,
    told={"drawn": DRAWN, "kinds": ", ".join(f"`{label}`" for label in LABELS)},
)  # fmt: skip
