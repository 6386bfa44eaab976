"""Writes a text-to-speech model with random weights in the shape of a widely used one."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import VitsConfig, VitsModel, VitsTokenizer

from benchmarks.random_weights import made_once

_LETTERS = "_abcdefghijklmnopqrstuvwxyz' -"
_TOKENIZER: dict[str, Any] = {"pad_token": "_", "unk_token": "_", "language": "eng", "phonemize": False}
_LONGER = -1.0
"""Translation of the duration predictor's last flow, with which a letter lasts about as long as in real speech."""


def checkpoint(cache: Path) -> Path:
    """Returns the folder of a VITS in the shape of MMS, written to `cache` on first use."""
    return made_once(cache, "mms-tts-shape", _make)


def _make(folder: Path) -> None:
    model = VitsModel(VitsConfig(vocab_size=len(_LETTERS)))
    with torch.no_grad():
        model.get_parameter("duration_predictor.flows.0.translate")[0].fill_(_LONGER)
    model.save_pretrained(folder)
    letters = folder / "letters.json"
    letters.write_text(json.dumps({letter: i for i, letter in enumerate(_LETTERS)}))
    VitsTokenizer(str(letters), **_TOKENIZER).save_pretrained(folder)
