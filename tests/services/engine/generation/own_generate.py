"""Reference outputs of transformers' own `generate`, with which every path through the engine is compared."""

from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from tests.tiny.language_models import ENCODER_DECODERS, SERIAL_ENCODER_DECODERS, write_checkpoint


def reads_by_an_encoder(name: str) -> bool:
    return name in ENCODER_DECODERS | SERIAL_ENCODER_DECODERS


def own_model(folder: Path, name: str) -> PreTrainedModel:
    """Returns a fresh copy of the checkpoint in float32, as transformers loads it."""
    return deepcopy(_loaded(folder, name))


@lru_cache(4)
def _loaded(folder: Path, name: str) -> PreTrainedModel:
    kind = AutoModelForSeq2SeqLM if reads_by_an_encoder(name) else AutoModelForCausalLM
    return kind.from_pretrained(folder, dtype=torch.float32).eval()


@dataclass
class Own:
    """An output of `generate`."""

    ids: list[int]
    logits: Tensor
    """`[tokens, vocabulary]`, as the model computed them, before any logits processor."""


def own_generate(folder: Path, name: str, prompt: list[int], count: int, **options: Any) -> Own:
    """Generates `count` tokens with a fresh copy of the model, since some modules keep state between runs."""
    model, ids = own_model(folder, name), torch.tensor([prompt])
    options = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False} | options
    with torch.inference_mode():
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), output_logits=True, return_dict_in_generate=True, **options
        )
    return Own(made.sequences[0, -len(made.logits) :].tolist(), torch.stack(made.logits)[:, 0])


def write(folder: Path, name: str, **generation: Any) -> Path:
    return write_checkpoint(folder, name, seed=3, **generation)
