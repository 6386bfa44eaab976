"""Recipe of sound-text: a small CLAP that embeds synthetic sounds and their captions in one space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoProcessor,
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    ClapTextConfig,
)

from models.recipes.speech.items import Item
from models.recipes.speech.made_sounds import COUNTS, SECONDS, WORDS, draw_sounds
from models.recipes.speech.recipe import Recipe, Served, Trained
from models.recipes.speech.voices import RATE, pick
from models.recipes.text.tokenizer import byte_pairs
from models.recipes.vision.training import Plan, fit, seeded

MELS, HOP = 32, 256
PLAN = Plan(steps=2000, batch=32, rate=1e-2, of="sounds", muon=True)
DRAWN, DRAWN_SEED, HELD_OUT_SEED = 4000, 59, 2059
WIDTH, LONGEST = 128, 32
TEMPLATES = (
    "{}", "the sound of {}", "a sound of {}", "this is a sound of {}.", "this is {}.", "i hear {}", "{} can be heard",
    "a recording of {}",
)  # fmt: skip
ASKED = "This is a sound of {}."
SYNONYMS = {
    "a voice": ("a voice", "speech", "somebody speaking", "a person speaking", "a person talking"),
    "a hiss": ("a hiss", "white noise"), "a rumble": ("a rumble", "low noise"), "a bell": ("a bell", "a bell ringing"),
    "a hum": ("a hum", "humming"), "a rising tone": ("a rising tone", "a tone going up"),
    "a falling tone": ("a falling tone", "a tone going down"), "a chord": ("a chord", "three notes at once"),
}  # fmt: skip
GROUPS = {
    "a tone": ("a low tone", "a high tone", "a rising tone", "a falling tone"), "noise": ("a hiss", "a rumble"),
    "beeps": tuple(f"{count} beeps" for count in COUNTS), "clicks": tuple(f"{count} clicks" for count in COUNTS),
    **{words: (words,) for words in ("a siren", "a chord", "a bell", "a hum", "a voice")},
}  # fmt: skip
GROUP_OF = {words: group for group, members in GROUPS.items() for words in members}
SETS = (WORDS, tuple(GROUPS))
"""Sets of statements of which exactly one is true of a sound."""


def varied(rng: np.random.Generator, words: str) -> str:
    """The words in one of the ways one may say them, with or without an article."""
    words = pick(rng, SYNONYMS.get(words, (words,)))
    return pick(rng, TEMPLATES).format(words.removeprefix("a ") if rng.random() < 0.3 else words)


def new_network(vocabulary: int) -> ClapModel:
    """A network with random weights."""
    text = ClapTextConfig(
        vocab_size=vocabulary, hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=192,
        max_position_embeddings=LONGEST + 2, pad_token_id=0, bos_token_id=2, eos_token_id=3, projection_dim=WIDTH,
    )  # fmt: skip
    audio = ClapAudioConfig(
        window_size=4, num_mel_bins=MELS, spec_size=2 * MELS, patch_embeds_hidden_size=32, depths=[2, 2, 2],
        num_hidden_layers=3, num_attention_heads=[2, 4, 8], hidden_size=128, mlp_ratio=2.0, projection_dim=WIDTH,
    )  # fmt: skip
    return ClapModel(ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=WIDTH))


def train(_: Path) -> Trained:
    """Trains on drawn sounds; each picks its statement in every set."""
    seeded(PLAN.seed)
    features = ClapFeatureExtractor(
        feature_size=MELS, sampling_rate=RATE, hop_length=HOP, max_length_s=int(SECONDS), fft_window_size=1024,
        frequency_min=20, frequency_max=RATE // 2, truncation="rand_trunc", padding="pad",
    )  # fmt: skip
    said = [
        template.format(words) for template in TEMPLATES for words in (*WORDS, *GROUPS, *sum(SYNONYMS.values(), ()))
    ]
    tokenizer = byte_pairs(said, 500, LONGEST)
    network = new_network(len(tokenizer))
    drawn = draw_sounds(DRAWN_SEED, DRAWN, held_out=False)
    values = torch.cat([features(s.samples, sampling_rate=RATE, return_tensors="pt")["input_features"] for s in drawn])
    truths = torch.tensor([[WORDS.index(s.words), SETS[1].index(GROUP_OF[s.words])] for s in drawn])

    def loss_at(rng: np.random.Generator) -> Tensor:
        chosen = torch.from_numpy(rng.integers(DRAWN, size=PLAN.batch))
        said = [tokenizer([varied(rng, w) for w in words], padding=True, return_tensors="pt") for words in SETS]
        return sound_loss(network, patched(rng, values[chosen]), said, truths[chosen])

    minutes = fit(network, PLAN, loss_at)
    return Trained(network, (ClapProcessor(features, tokenizer),), minutes, f"{PLAN.told}, of {DRAWN:,} in all")


def patched(rng: np.random.Generator, values: Tensor) -> Tensor:
    """Spectrograms `[n, 1, frames, mels]`, turned round in time a little and at other loudness."""
    return torch.roll(values, int(rng.integers(-10, 11)), 2) + float(rng.uniform(-6, 6))


def sound_loss(network: ClapModel, values: Tensor, texts: list[dict[str, Tensor]], truths: Tensor) -> Tensor:
    """Each sound picks its statement in every set, and each statement of the first set its sounds."""
    scale = network.logit_scale_a.exp().clamp(max=50)
    sounds = network.get_audio_features(input_features=values).pooler_output
    total = values.new_zeros(())
    for number, inputs in enumerate(texts):
        logits = scale * sounds @ network.get_text_features(**inputs).pooler_output.T
        total = total + nn.functional.cross_entropy(logits, truths[:, number])
        if number == 0:
            hits = nn.functional.one_hot(truths[:, 0], logits.shape[1]).float().T
            present = hits.sum(1) > 0
            total = total + nn.functional.cross_entropy(
                logits.T[present], hits[present] / hits[present].sum(1, keepdim=True)
            )
    return total


def draw(count: int) -> list[Item]:
    """Held-out sounds."""
    sounds = draw_sounds(HELD_OUT_SEED, count, held_out=True)
    return [Item({"label": s.words, "group": GROUP_OF[s.words]}, s.samples, RATE) for s in sounds]


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """How many sounds get the right label of each set, and how many texts find a sound they describe."""
    inputs = [served.reader(audio=item.samples, sampling_rate=item.rate, return_tensors="pt") for item in items]
    values = torch.cat([i["input_features"] for i in inputs])
    sounds = served.network.get_audio_features(input_features=values).pooler_output
    found = []
    for labels in SETS:
        asked = served.reader(text=[ASKED.format(w) for w in labels], padding=True, return_tensors="pt")
        found.append(sounds @ served.network.get_text_features(**asked).pooler_output.T)
    right = [
        float(np.mean([labels[i] == item.expected[key] for i, item in zip(f.argmax(1).tolist(), items, strict=True)]))
        for f, labels, key in zip(found, SETS, ("label", "group"), strict=True)
    ]
    nearest = found[0].argmax(0).tolist()
    asked_for = [items[i].expected["label"] == w for i, w in zip(nearest, WORDS, strict=True)]
    return {
        f"accuracy among {len(WORDS)} labels": right[0],
        f"accuracy among {len(GROUPS)} kinds": right[1],
        "text finds a sound it describes first": float(np.mean(asked_for)),
    }


RECIPE = Recipe(
    folder="sound-text", auto=AutoModel, reader=AutoProcessor, train=train, draw=draw, measure=measure,
    measured=600, shipped=60,
    told={"drawn": DRAWN, "labels": ", ".join(f"`{words}`" for words in WORDS)},
)  # fmt: skip
