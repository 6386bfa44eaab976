"""Why a checkpoint could not be loaded, and what to do about it, in sentences."""

import json
import os
from itertools import chain
from json import JSONDecodeError
from pathlib import Path

import transformers
from huggingface_hub.constants import HF_HUB_CACHE, is_offline_mode
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError

_OF_CODE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)
"""Errors whose message says little by itself: a library met what it was not written for."""
_POINTER = b"version https://git-lfs"
"""Begins what a clone without git LFS has in place of a large file."""


def explain(source: str, error: Exception) -> str:
    """Returns why `source`, a folder or a hub id, failed with `error`.

    Libraries take a mistyped folder for a hub id, and report files without read permission as missing.
    """
    if isinstance(error.__cause__ or error, HFValidationError):
        return "There is no such folder."
    of_hub = not os.path.isdir(source)  # noqa: PTH112 - a hub id is no path
    place = Path(HF_HUB_CACHE, "models--" + source.replace("/", "--")) if of_hub else Path(source)
    if unread := _unreadable(place):
        # An OSError says that the file is missing, which misleads; another error may have another cause, so it is told.
        own = "" if isinstance(error, OSError) else f" {error}"
        return f"{unread} cannot be read by user {os.geteuid()}.{own}"
    if not of_hub and "a `model_type` key" in str(error) and not (place / "config.json").exists():
        return _no_configuration(place)
    if "couldn't connect" in str(error) and is_offline_mode() and not place.is_dir():
        return f"There is no such folder, and no such model in {HF_HUB_CACHE}; HF_HUB_OFFLINE keeps the hub unasked."
    nowhere = f"There is no such folder, and on the hub, or in {HF_HUB_CACHE}: "
    return f"{'' if place.is_dir() else nowhere}{_told(error, place)}"


def _unreadable(place: Path) -> Path | None:
    """Returns a file or folder in `place` that this process may not read, or a broken link.

    Folders within are searched only where `place` holds a checkpoint: it may be somebody's home.
    """
    kept = any(os.path.lexists(place / name) for name in ("config.json", "snapshots"))  # in a folder, or by the hub
    for path in chain((place.parent, place), place.rglob("*") if kept else place.glob("*")):
        if not os.access(path, os.X_OK if path.is_dir() else os.R_OK) and os.path.lexists(path):
            return path
    return None


def _no_configuration(folder: Path) -> str:
    """Returns what to do where there is no config.json: training leaves its checkpoints in subfolders."""
    inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
    has = f"; {', '.join(inside)} in it has one: give that" if inside else ": give a folder that save_pretrained wrote"
    return f"It has no config.json{has}."


def _told(error: Exception, place: Path) -> str:
    """Returns what an error says, or, where that is known, what it means and how to load the checkpoint in `place`."""
    said = str(error)
    if "backend tokenizer" in said:
        return "It has no files of a tokenizer that can be read: the tokenizer's own save_pretrained writes them."
    if isinstance(error, SafetensorError):
        if pointers := [path.name for path in sorted(place.glob("*.safetensors")) if _is_pointer(path)]:
            return f"{pointers[0]} is not the file, but a pointer of git LFS to it: `git lfs pull` there fetches it."
        return f"A file of its weights is damaged, or was not copied whole ({said}): fetch or save it anew."
    if "trust_remote_code" in said:
        return f"{said} With --trust-remote-code its own code is run: read it first."
    if isinstance(error, FileNotFoundError) and said.endswith(".safetensors"):
        return f"{said}. It has a part of its weights only: fetch all that its index names, or save it anew."
    if " model.safetensors" in said:  # not an adapter's
        if place.is_dir() and (reason := _no_weights(place)):
            return reason
        return (
            f"{said} It has no weights in safetensors. With --allow-pickle-weights others are unpickled, which may run "
            "code of whoever made them; converting them is safer."
        )
    if isinstance(error, JSONDecodeError) and (broken := next(filter(_is_broken, sorted(place.glob("*.json"))), None)):
        return f"{broken.name} is no JSON ({said}): fetch or save it anew."
    if isinstance(error, TypeError) and "PathLike" in said and "NoneType" in said:
        return "A file that its tokenizer or its processor is made of is missing."
    if isinstance(error, _OF_CODE):
        return (
            f"{type(error).__name__}: {said}. A file of it may be missing or damaged, or it was made for another "
            f"release of transformers than {transformers.__version__}."
        )
    return said


def _no_weights(folder: Path) -> str:
    """Returns what is missing where there is no model.safetensors; empty where weights can be unpickled instead."""
    if parts := sorted(folder.glob("*.safetensors")):
        return (
            f"It has {parts[0].name}, but neither model.safetensors nor model.safetensors.index.json, which names the "
            "files of its weights: fetch or save it anew."
        )
    return "" if any(folder.glob("*.bin*")) else "It has no weights: fetch model.safetensors too, or save it anew."


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def _is_broken(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return True
    return False
