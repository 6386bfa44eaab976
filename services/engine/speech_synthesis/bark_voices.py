"""Reads Bark's voices: token histories in .npy files beside the checkpoint."""

import json
import logging
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from services.engine.checkpoint import Checkpoint, ModelRefused, find_file

log = logging.getLogger(__name__)

_LIST = "speaker_embeddings_path.json"
_PARTS = ("semantic_prompt", "coarse_prompt", "fine_prompt")


def read_voices(checkpoint: Checkpoint, codes: dict[str, int], rows: dict[str, int]) -> dict[str, dict[str, Tensor]]:
    """Returns a checkpoint's voices by name, in the order of its list. Leaves out voices with missing files.

    `codes` is the exclusive upper limit of each part's codes, `rows` the number of rows of each two-dimensional part.

    Raises:
        ModelRefused: a file has another shape or type, or codes out of range.
    """
    path = find_file(checkpoint, _LIST)
    if path is None:
        return {}
    listed: dict[str, Any] = json.loads(path.read_text())
    listed.pop("repo_or_path", None)
    voices: dict[str, dict[str, Tensor]] = {}
    for name, files in listed.items():
        places = {part: _place(checkpoint, files[part]) for part in _PARTS}
        found = {part: place for part, place in places.items() if place is not None}
        if len(found) < len(_PARTS):
            log.warning("%s lists the voice %s and lacks its files; it is left out", checkpoint.source, name)
            continue
        voices[name] = {
            part: _read(place, codes[part], rows.get(part)).to(checkpoint.device) for part, place in found.items()
        }
    return voices


def _place(checkpoint: Checkpoint, name: str) -> Path | None:
    """Returns a file's path; None if it is missing or its name points outside the checkpoint."""
    inside = PurePosixPath(name)
    return None if inside.is_absolute() or ".." in inside.parts else find_file(checkpoint, name)


def _read(path: Path, codes: int, rows: int | None) -> Tensor:
    refused = ModelRefused(f"{path} is no part of a voice of this model.")
    try:
        numbers = open_memmap(path, mode="r")  # never unpickles, and allocates no memory that a forged header asks for
    except (OSError, EOFError, ValueError) as error:
        raise refused from error
    if (
        numbers.dtype.kind not in "iu"
        or numbers.shape[:-1] != (() if rows is None else (rows,))
        or not numbers.size
        or not 0 <= numbers.min() <= numbers.max() < codes
    ):
        raise refused
    return torch.from_numpy(numbers.astype(np.int64))
