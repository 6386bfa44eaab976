"""Voices of Bark: what each said once, in files of numbers beside the checkpoint."""

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
    """Returns the voices of a checkpoint by name, in the order of its list, but for those whose files are missing.

    `codes` tells below what number those of each part are, `rows` how many rows a part of two dimensions has.

    Raises:
        ModelRefused: a file holds something else.
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
    """Returns where a file lies; None if it is missing, or would lie elsewhere than the checkpoint."""
    inside = PurePosixPath(name)
    return None if inside.is_absolute() or ".." in inside.parts else find_file(checkpoint, name)


def _read(path: Path, codes: int, rows: int | None) -> Tensor:
    refused = ModelRefused(f"{path} is no part of a voice of this model.")
    try:
        numbers = open_memmap(path, mode="r")  # unpickles nothing, nor takes memory for what a file only says it has
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
