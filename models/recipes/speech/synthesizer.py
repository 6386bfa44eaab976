"""Recipe of synthesizer: a small VITS, trained without a discriminator, for commands and numbers in one voice."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForTextToWaveform, AutoTokenizer, VitsConfig, VitsModel, VitsTokenizer
from transformers.audio_utils import mel_filter_bank

from models.recipes.speech.alignment import durations, likelihoods
from models.recipes.speech.ear import hesitant
from models.recipes.speech.items import Item
from models.recipes.speech.measures import word_error_rate
from models.recipes.speech.phrases import VOCABULARY, held_out_phrases, training_phrases
from models.recipes.speech.recipe import Recipe, Served, Trained
from models.recipes.speech.transcriber import RECIPE as TRANSCRIBER
from models.recipes.speech.transcriber import transcribed
from models.recipes.speech.voices import RATE, Voice, speak
from models.recipes.vision.training import Plan, fit, seeded

VOICE = Voice("flite", "slt", 1.1, 178.0)
SPOKEN_RATE = 8000
HOP, WINDOW = 128, 512
SEGMENT = 32
"""Frames of each text whose sound is made and compared in a step."""
PLAN = Plan(steps=4500, batch=8, rate=1e-3, of="texts", decay=0.01)
LEVELLING = Plan(steps=600, batch=8, rate=5e-4, of="texts", decay=0.01)
"""A second part, in which sound has to lie around zero too; mel bands do not tell."""
TEXTS, TEXTS_SEED, HELD_OUT_SEED = 1600, 47, 2047
RESOLUTIONS = ((256, 40), (512, 64), (1024, 80))
"""Windows and bands in which sounds are compared."""
LETTERS = "_ abcdefghijklmnopqrstuvwxyz,"


@dataclass(frozen=True)
class Spoken:
    """A text as tokens, its sound at 8 kHz in whole frames, and its spectrogram `[bins, frames]`."""

    tokens: Tensor
    sound: Tensor
    spectrogram: Tensor


def new_tokenizer() -> VitsTokenizer:
    """Letters as tokens, with a pause token between them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}), encoding="utf-8")
        pause = {"pad_token": LETTERS[0], "unk_token": LETTERS[0]}
        return VitsTokenizer(str(path), language="eng", add_blank=True, normalize=True, phonemize=False, **pause)


def new_network() -> VitsModel:
    """A network with random weights; a frame of it is 16 ms."""
    return VitsModel(VitsConfig(
        vocab_size=len(LETTERS), hidden_size=96, num_hidden_layers=3, num_attention_heads=2, ffn_dim=192, flow_size=96,
        layerdrop=0.0, hidden_dropout=0.05, attention_dropout=0.05, activation_dropout=0.05,
        spectrogram_bins=WINDOW // 2 + 1, use_stochastic_duration_prediction=False, upsample_initial_channel=128,
        upsample_rates=[8, 4, 4], upsample_kernel_sizes=[16, 8, 8], resblock_kernel_sizes=[3, 5],
        resblock_dilation_sizes=[[1, 3], [1, 3]], duration_predictor_filter_channels=96,
        duration_predictor_dropout=0.2, prior_encoder_num_flows=2, prior_encoder_num_wavenet_layers=3,
        posterior_encoder_num_wavenet_layers=4, wavenet_kernel_size=3, sampling_rate=SPOKEN_RATE, noise_scale=0.3,
    ))  # fmt: skip


def spoken(tokenizer: VitsTokenizer, text: str) -> Spoken:
    """The text in the voice that is learnt."""
    sound = soxr.resample(speak(text, VOICE).samples, RATE, SPOKEN_RATE) * np.float32(0.7)
    sound = np.pad(sound, (HOP, HOP + -len(sound) % HOP))
    wave = torch.from_numpy(sound)
    return Spoken(torch.tensor(tokenizer(text).input_ids), wave, spectrogram(wave[None])[0])


@cache
def window(size: int) -> Tensor:
    """A Hann window."""
    return torch.hann_window(size)


@cache
def bands(size: int, count: int) -> Tensor:
    """Mel bands `[count, bins]` of a spectrogram of windows of that size."""
    return torch.from_numpy(mel_filter_bank(
        size // 2 + 1, count, 0.0, SPOKEN_RATE / 2, SPOKEN_RATE, norm="slaney", mel_scale="slaney"
    )).float().T  # fmt: skip


def magnitudes(sounds: Tensor, size: int, hop: int) -> Tensor:
    """Spectra `[n, bins, frames]` of sounds `[n, samples]`, a frame for every hop."""
    padded = nn.functional.pad(sounds[:, None], ((size - hop) // 2, (size - hop + 1) // 2), mode="reflect")[:, 0]
    spectra = torch.stft(padded, size, hop, window=window(size), center=False, return_complex=True)
    return torch.sqrt(spectra.real**2 + spectra.imag**2 + 1e-9)


def spectrogram(sounds: Tensor) -> Tensor:
    """What the posterior encoder sees of sounds: log magnitudes, scaled to about -1 to 1."""
    return (torch.log(magnitudes(sounds, WINDOW, HOP) + 1e-2) + 2) / 2


def difference(made: Tensor, real: Tensor) -> Tensor:
    """How far sounds `[n, samples]` are from real ones: log mel spectra at three resolutions."""
    total = made.new_zeros(())
    for size, count in RESOLUTIONS:
        pair = (bands(size, count) @ magnitudes(sounds, size, size // 4) for sounds in (made, real))
        a, b = (torch.log(m + 1e-3) for m in pair)
        total = total + (a - b).abs().mean()
    return total / len(RESOLUTIONS)


def train(_: Path) -> Trained:
    """Trains on texts spoken by flite."""
    seeded(PLAN.seed)
    tokenizer, network = new_tokenizer(), new_network()
    texts_rng = np.random.default_rng(TEXTS_SEED)
    texts = [hesitant(texts_rng, text) for text in training_phrases(texts_rng, TEXTS)]
    examples = sorted((spoken(tokenizer, text) for text in texts), key=lambda e: len(e.sound))

    def loss_at(rng: np.random.Generator, level: float = 0.0) -> Tensor:
        first = rng.integers(len(examples) - 6 * PLAN.batch)
        near = rng.choice(6 * PLAN.batch, size=PLAN.batch, replace=False)
        return loss(network, [examples[first + i] for i in near], rng, level)

    minutes = fit(network, PLAN, loss_at, kept=torch.float16)
    minutes += fit(network, LEVELLING, partial(loss_at, level=1.0), kept=torch.float16)
    network.config.speaking_rate = pace(network, examples)
    told = f"{PLAN.told}, of {TEXTS:,} in all, and {LEVELLING.steps} more that bring the sound to lie around zero"
    return Trained(network, (tokenizer,), minutes, told)


@torch.inference_mode()
def pace(network: VitsModel, examples: list[Spoken]) -> float:
    """How many times faster than the real voice the network speaks, which its rate has to make up for."""
    network.float().eval()
    taken = real = 0.0
    for example in examples[::8]:
        known = torch.ones(1, len(example.tokens), 1)
        text = network.text_encoder(example.tokens[None], known).last_hidden_state.transpose(1, 2)
        taken += float(torch.exp(network.duration_predictor(text, known.transpose(1, 2))).sum())
        # Half a frame a token is what rounding up adds.
        real += example.spectrogram.shape[1] - len(example.tokens) / 2
    network.half()
    return round(taken / real, 3)


def loss(network: VitsModel, batch: list[Spoken], rng: np.random.Generator, level: float) -> Tensor:
    """Sound, latents and durations of a batch; `level` weighs how far from zero sound lies on the whole."""
    tokens = nn.utils.rnn.pad_sequence([e.tokens for e in batch], batch_first=True)
    spectra = nn.utils.rnn.pad_sequence([e.spectrogram.T for e in batch], batch_first=True).transpose(1, 2)
    counts, frames = (
        torch.tensor([len(e.tokens) for e in batch]),
        torch.tensor([e.spectrogram.shape[1] for e in batch]),
    )
    said = (torch.arange(tokens.shape[1]) < counts[:, None]).float()
    heard = (torch.arange(spectra.shape[2]) < frames[:, None]).float()[:, None]
    text = network.text_encoder(tokens, said[..., None], attention_mask=said.long())
    latents, _, log_deviations = network.posterior_encoder(spectra, heard)
    flowed = network.flow(latents, heard)
    with torch.no_grad():
        lasting = durations(likelihoods(flowed, text.prior_means, text.prior_log_variances), counts, frames)
    ends = lasting.cumsum(1)
    places = (torch.arange(spectra.shape[2])[None, :, None] >= ends[:, None]).sum(-1).clamp(max=tokens.shape[1] - 1)
    means, priors = (
        stats.gather(1, places[..., None].expand(-1, -1, stats.shape[2])).transpose(1, 2)
        for stats in (text.prior_means, text.prior_log_variances)
    )
    apart = priors - log_deviations - 0.5 + 0.5 * (flowed - means) ** 2 * torch.exp(-2 * priors)
    divergence = (apart * heard).sum() / heard.sum() / latents.shape[1]
    guessed = network.duration_predictor(text.last_hidden_state.transpose(1, 2), said[:, None])[:, 0]
    # A service rounds durations up, so that half a frame less than the true one comes out right.
    wrong = ((guessed - torch.log(lasting.clamp(min=1) - 0.5)) ** 2 * said).sum() / said.sum()
    starts = [int(rng.integers(max(1, f - SEGMENT + 1))) for f in frames.tolist()]
    pieces = torch.stack([row[:, s : s + SEGMENT] for row, s in zip(padded(latents), starts, strict=True)])
    real = torch.stack([
        padded(e.sound, HOP)[s * HOP : (s + SEGMENT) * HOP] for e, s in zip(batch, starts, strict=True)
    ])  # fmt: skip
    made = network.decoder(pieces)
    off = nn.functional.avg_pool1d(made, HOP).abs().mean()
    return difference(made[:, 0], real) + divergence + 0.1 * wrong + level * off


def padded(values: Tensor, scale: int = 1) -> Tensor:
    """The values with zeros after them, for at least one whole segment."""
    return nn.functional.pad(values, (0, max(0, SEGMENT * scale - values.shape[-1])))


def draw(count: int) -> list[Item]:
    """Held-out texts, with flite's own reading of them at the model's rate."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    texts = [text for text in held_out_phrases(rng, 4 * count) if len(text.split()) > 1][:count]
    return [
        Item({"text": text}, soxr.resample(speak(text, VOICE).samples, RATE, SPOKEN_RATE), SPOKEN_RATE)
        for text in texts
    ]


def said(served: Served, text: str) -> NDArray[np.float32]:
    """The model's speech at 8 kHz."""
    torch.manual_seed(0)
    return served.network(**served.reader(text, return_tensors="pt")).waveform[0].numpy()


@torch.inference_mode()
def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """How many words of the model's speech, and of flite's own, the transcriber beside it gives back."""
    ear = TRANSCRIBER.load(served.siblings / "transcriber")
    texts = [item.expected["text"] for item in items]
    began = time.perf_counter()
    made = [said(served, text) for text in texts]
    took = time.perf_counter() - began
    back = [word_error_rate([(t, heard(ear, s)) for t, s in zip(texts, sounds, strict=True)])
            for sounds in (made, [item.samples for item in items])]  # fmt: skip
    return {
        "words that come back": 1 - back[0],
        "words that come back of flite's own speech": 1 - back[1],
        "real-time factor on one thread": took / sum(len(sound) / SPOKEN_RATE for sound in made),
    }


def heard(ear: Served, sound: NDArray[np.float32]) -> str:
    """What the transcriber hears in a sound at 8 kHz with a moment of silence around."""
    return transcribed(ear, np.pad(soxr.resample(sound, SPOKEN_RATE, RATE), RATE // 5))


RECIPE = Recipe(
    folder="synthesizer", auto=AutoModelForTextToWaveform, reader=AutoTokenizer, train=train, draw=draw,
    measure=measure, measured=200, shipped=40,
    told={"texts": TEXTS, "words": len(VOCABULARY)},
)  # fmt: skip
