"""Recipe of transcriber: a small Parakeet with a CTC head for spoken commands and numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import (
    AutoModelForCTC,
    AutoProcessor,
    ParakeetCTCConfig,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetProcessor,
    ParakeetTokenizer,
)

from models.recipes.speech.ear import letters, training_clips
from models.recipes.speech.hearing_test import draw, figures
from models.recipes.speech.items import Item
from models.recipes.speech.phrases import VOCABULARY
from models.recipes.speech.recipe import Recipe, Served, Trained
from models.recipes.speech.recordings import Recording, training_recording
from models.recipes.speech.voices import NAMES, RATE, Clip
from models.recipes.vision.training import Plan, fit, seeded

MELS, LAYERS, WIDTH = 48, 4, 144
PLAN = Plan(steps=8000, batch=27, rate=1.5e-3, of="recordings", decay=0.02)
BY_ESPEAK, BY_FLITE = 14_000, 8000
CLIPS_SEED = 31
SECONDS = 60
"""Seconds of audio in a batch, padding included."""
EASY_STEPS = 600
"""Steps over which training goes from clean to only hard recordings."""


def new_network(vocabulary: int) -> ParakeetForCTC:
    """A network with random weights; a frame of its output is 32 ms."""
    encoder = ParakeetEncoderConfig(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=432, conv_kernel_size=9,
        subsampling_factor=4, subsampling_conv_channels=32, num_mel_bins=MELS, dropout=0.05, activation_dropout=0.05,
        attention_dropout=0.0, layerdrop=0.0, max_position_embeddings=4096, scale_input=False,
        # With the usual 0.02 so narrow a network passes on next to nothing of its input, and learns nothing for long.
        initializer_range=0.1,
    )  # fmt: skip
    return ParakeetForCTC(ParakeetCTCConfig(
        vocab_size=vocabulary, pad_token_id=vocabulary - 1, encoder_config=encoder.to_dict(),
    ))  # fmt: skip


def train(_: Path) -> Trained:
    """Trains on recordings put together anew for every step; on a GPU where there is one."""
    seeded(PLAN.seed)
    clips = training_clips(CLIPS_SEED, BY_ESPEAK, BY_FLITE)
    tokenizer = letters()
    features = ParakeetFeatureExtractor(feature_size=MELS, hop_length=128)
    makers = max(1, len(os.sched_getaffinity(0)) - 2)
    batches = iter(DataLoader(Batches(clips, features, tokenizer), batch_size=None, num_workers=makers))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = new_network(len(tokenizer)).to(device)

    def loss_at(_: np.random.Generator) -> Tensor:
        inputs, tokens = next(batches)
        return ctc_loss(network, {name: value.to(device) for name, value in inputs.items()}, tokens)

    minutes = fit(network, PLAN, loss_at)
    told = f"{PLAN.steps:,} steps of up to {SECONDS} seconds of recordings, AdamW with a highest rate of {PLAN.rate:g},"
    told += (
        f" seed {PLAN.seed}; clean sentences at first, and all of the recordings damaged from step {EASY_STEPS:,} on"
    )
    beside = (ParakeetProcessor(features, tokenizer, decoder_type="ctc"),)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else "one thread of a CPU"
    return Trained(network.cpu(), beside, minutes, told, machine)


@dataclass
class Batches(IterableDataset[tuple[dict[str, Tensor], list[list[int]]]]):
    """Batches of recordings of about one length, without end: at first clean sentences, then ever more hard ones."""

    clips: list[Clip]
    features: ParakeetFeatureExtractor
    tokenizer: ParakeetTokenizer

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], list[list[int]]]]:
        """Yields inputs, and the tokens of each recording."""
        worker = get_worker_info()
        at, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        rng, given = np.random.default_rng((PLAN.seed, at)), 0
        while True:
            hard = min(1.0, given / EASY_STEPS)
            drawn = [training_recording(rng, self.clips, hard) for _ in range(4 * PLAN.batch)]
            drawn.sort(key=lambda recording: len(recording.samples))
            batches: list[list[Recording]] = [[]]
            for recording in drawn:
                if len(recording.samples) * (len(batches[-1]) + 1) > SECONDS * RATE:
                    batches.append([])
                batches[-1].append(recording)
            given += workers * len(batches)
            for batch in (batches[i] for i in rng.permutation(len(batches))):
                inputs = dict(self.features([r.samples for r in batch], sampling_rate=RATE))
                inputs["input_features"] = patched(rng, inputs["input_features"])
                yield inputs, [self.tokenizer(r.text).input_ids if r.text else [] for r in batch]


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
    flat = torch.tensor([token for row in tokens for token in row], device=logits.device)
    total = nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), flat, lengths,
        torch.tensor([len(row) for row in tokens], device=logits.device),
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
    measured=700, shipped=56,
    told={
        "clips": BY_ESPEAK + BY_FLITE, "words": len(VOCABULARY), "layers": LAYERS, "width": WIDTH,
        "accents": len(NAMES["espeak"]["accents"]), "timbres": len(NAMES["espeak"]["timbres"]),
        "held_out_timbres": len(NAMES["espeak"]["held_out"]["timbres"]),
    },
)  # fmt: skip
