"""Spoken commands and numbers written down, by a small Parakeet with a CTC head."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    AutoModelForCTC,
    AutoProcessor,
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetProcessor,
)

from models.recipes.speech.ear import letters, training_clips
from models.recipes.speech.hearing_test import draw, figures
from models.recipes.speech.items import Item
from models.recipes.speech.phrases import VOCABULARY
from models.recipes.speech.recipe import Recipe, Served, Trained
from models.recipes.speech.recordings import Recording, training_recording
from models.recipes.speech.voices import NAMES, RATE, Clip
from models.recipes.vision.training import Plan, fit, seeded

MELS, LAYERS = 48, 3
PLAN = Plan(steps=4500, batch=11, rate=1e-2, of="recordings", muon=True)
BY_ESPEAK, BY_FLITE = 8000, 2000
CLIPS_SEED = 31
SECONDS = 24
"""Of sound in a batch, padding and all."""
EASY_STEPS = 2500
"""Steps until all recordings are hard ones."""


def new_network(vocabulary: int) -> ParakeetForCTC:
    """A network with random weights; a frame of its output is 32 ms."""
    encoder = ParakeetEncoderConfig(
        hidden_size=128, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=256, conv_kernel_size=9,
        subsampling_factor=4, subsampling_conv_channels=32, num_mel_bins=MELS, dropout=0.05, activation_dropout=0.05,
        attention_dropout=0.0, layerdrop=0.0, max_position_embeddings=4096, scale_input=False,
        # With the usual 0.02 so narrow a network passes on next to nothing of its input, and learns nothing for long.
        initializer_range=0.1,
    )  # fmt: skip
    return ParakeetForCTC(ParakeetCTCConfig(
        vocab_size=vocabulary, pad_token_id=vocabulary - 1, encoder_config=encoder.to_dict(),
    ))  # fmt: skip


def train(_: Path) -> Trained:
    """Trains on recordings put together anew for every step."""
    seeded(PLAN.seed)
    tokenizer = letters()
    features = ParakeetFeatureExtractor(feature_size=MELS, hop_length=128)
    network = new_network(len(tokenizer))
    clips = training_clips(CLIPS_SEED, BY_ESPEAK, BY_FLITE)

    # Flite's voices are few and unlike espeak's: they are heard twice as often.
    batches = batches_of(np.random.default_rng(PLAN.seed), clips + clips[BY_ESPEAK:])

    def loss_at(rng: np.random.Generator) -> Tensor:
        batch = next(batches)
        inputs = features([r.samples for r in batch], sampling_rate=RATE)
        inputs["input_features"] = patched(rng, inputs["input_features"])
        return ctc_loss(network, inputs, [tokenizer(r.text).input_ids if r.text else [] for r in batch])

    minutes = fit(network, PLAN, loss_at)
    told = (
        f"{PLAN.steps:,} steps of up to {SECONDS} seconds of recordings, Muon for the matrices with a highest rate of"
        f" {PLAN.rate:g}, seed {PLAN.seed}; clean sentences at first, damaged ones alone from step {EASY_STEPS:,} on"
    )
    return Trained(network, (ParakeetProcessor(features, tokenizer, decoder_type="ctc"),), minutes, told)


def batches_of(rng: np.random.Generator, clips: list[Clip]) -> Iterator[list[Recording]]:
    """Batches of recordings of about one length, without end: at first clean sentences, then ever more hard ones."""
    given = 0
    while True:
        hard = min(1.0, given / EASY_STEPS)
        drawn = [training_recording(rng, clips, hard) for _ in range(8 * PLAN.batch)]
        drawn.sort(key=lambda recording: len(recording.samples))
        batches: list[list[Recording]] = [[]]
        for recording in drawn:
            if len(recording.samples) * (len(batches[-1]) + 1) > SECONDS * RATE:
                batches.append([])
            batches[-1].append(recording)
        yield from (batches[i] for i in rng.permutation(len(batches)))
        given += len(batches)


def patched(rng: np.random.Generator, features: Tensor) -> Tensor:
    """Features `[n, frames, mels]` with two bands of up to eight mels and a moment of each left out."""
    features = features.clone()
    for row in features:
        for width in rng.integers(0, 9, size=2):
            first = rng.integers(MELS - width)
            row[:, first : first + width] = 0
        moment = rng.integers(len(row))
        row[moment : moment + rng.integers(0, 10)] = 0
    return features


def ctc_loss(network: ParakeetForCTC, inputs: dict[str, Tensor], tokens: list[list[int]]) -> Tensor:
    """The loss per token of the batch; recordings without words count too."""
    logits = network(**inputs).logits
    lengths = network._get_subsampling_output_length(inputs["attention_mask"].sum(-1))
    flat = torch.tensor([token for row in tokens for token in row])
    total = nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), flat, lengths, torch.tensor([len(row) for row in tokens]),
        blank=network.config.pad_token_id, reduction="sum", zero_infinity=True,
    )  # fmt: skip
    return total / max(1, len(flat))


def transcribed(served: Served, samples: NDArray[np.float32]) -> str:
    """What the model hears in a recording at 16 kHz."""
    inputs = served.reader(samples, sampling_rate=RATE)
    return served.reader.decode(served.network(**inputs).logits[0].argmax(-1))


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """Word error rates on recordings of the hearing test."""
    return figures(partial(transcribed, served), items)


RECIPE = Recipe(
    folder="transcriber", auto=AutoModelForCTC, reader=AutoProcessor, train=train, draw=draw, measure=measure,
    measured=1400, shipped=56,
    told={
        "clips": BY_ESPEAK + BY_FLITE, "words": len(VOCABULARY), "layers": LAYERS,
        "accents": len(NAMES["espeak"]["accents"]), "timbres": len(NAMES["espeak"]["timbres"]),
        "held_out_timbres": len(NAMES["espeak"]["held_out"]["timbres"]),
    },
)  # fmt: skip
