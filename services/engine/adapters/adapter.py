"""LoRA adapters as PEFT saves them: a folder with a configuration and the trained weights."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers.utils.hub import cached_file

from services.engine.adapters.configuration import CONFIG, read_config

_WEIGHTS = "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"
_WRAPPER = "base_model.model."
"""The prefix that PEFT puts before the names of a model's weights."""


@dataclass(frozen=True)
class AdapterPlace:
    """Where the files of an adapter, or of a model, are."""

    source: str
    """A folder, or an id on the hub."""
    subfolder: str = ""
    revision: str | None = None
    """Commit, branch or tag on the hub."""

    @property
    def shared(self) -> dict[str, Any]:
        """Keyword arguments with which transformers finds its files."""
        return {"revision": self.revision, "subfolder": self.subfolder}

    def find(self, name: str) -> Path | None:
        """Returns the local path of one of its files, or None if it has no file of that name. May download it.

        Raises:
            OSError: there is no such adapter at all.
        """
        found = cached_file(
            self.source,
            name,
            **self.shared,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
        return None if found is None else Path(found)


def place_of(text: str) -> AdapterPlace:
    """Parses where an adapter is: a folder, or `OWNER/NAME[/FOLDER][@REVISION]` on the hub."""
    name, _, revision = text.partition("@")
    parts = name.split("/", 2)
    if os.path.isdir(text) or len(parts) < 2 or not parts[0].strip("."):  # noqa: PTH112 - a hub id is no path
        return AdapterPlace(text)
    return AdapterPlace("/".join(parts[:2]), "".join(parts[2:]), revision or None)


@dataclass(frozen=True)
class Adapter:
    """An adapter of a supported kind, whose configuration was read. Its weights are still in their file."""

    label: str
    """The operator's name for it, for messages."""
    place: AdapterPlace
    config: dict[str, Any]
    weights: Path

    @property
    def base(self) -> str:
        """The model that it was trained on, as its configuration names it; possibly a folder of another machine."""
        return str(self.config.get("base_model_name_or_path") or "")

    @cached_property
    def has_tokenizer(self) -> bool:
        """Whether it has a tokenizer of its own."""
        return self.place.find("tokenizer_config.json") is not None

    @cached_property
    def revision(self) -> str:
        """The hub commit and the folder within it, or a digest over configuration and weights of a local folder."""
        if not Path(self.place.source).is_dir():
            # The hub's cache keeps files by commit: snapshots/COMMIT/FOLDER/adapter_config.json.
            commit = self.weights.parents[len(Path(self.place.subfolder).parts)].name
            return f"{commit}/{self.place.subfolder}".rstrip("/")  # a commit may hold several
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        with self.weights.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"sha256-{digest.hexdigest()[:16]}"

    def tensors(self) -> dict[str, Tensor]:
        """Returns the trained tensors, on the CPU, by the names that PEFT gives them in the model."""
        read = load_file(self.weights) if self.weights.suffix == ".safetensors" else _unpickled(self.weights)
        return {name.removeprefix(_WRAPPER): tensor for name, tensor in read.items()}

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a weight that the adapter replaces as a whole, without reading it; `()` if there is
        none.
        """
        if self.weights.suffix != ".safetensors":
            found = self.tensors().get(name)
            return () if found is None else tuple(found.shape)
        with safe_open(self.weights, "pt") as file:
            own = _WRAPPER + name
            return tuple(file.get_slice(own).get_shape()) if own in file.keys() else ()  # noqa: SIM118 - no mapping


def read_adapter(label: str, place: AdapterPlace, *, pickled: bool) -> Adapter:
    """Reads an adapter's configuration. `label` names it in messages; its weights may be a pickle file only if
    `pickled`.

    Raises:
        ValueError: it cannot be merged, or lacks a file. The message says why and what to do.
        OSError: there is no such adapter.
    """
    path = place.find(CONFIG)
    if path is None:
        at = f" at {place.revision}" if place.revision else ""
        file = Path(place.subfolder, CONFIG)
        raise ValueError(f"it has no {file}{at}, which PEFT writes beside an adapter's weights.{_deeper(place)}")
    config = read_config(path)
    weights = place.find(_WEIGHTS) or (place.find(_PICKLED) if pickled else None)
    if weights is None:
        raise ValueError(
            f"it has no {_WEIGHTS}. With --allow-pickle-weights an {_PICKLED} is unpickled, which may run code of "
            "whoever made it; converting it is safer."
        )
    if weights.suffix == ".safetensors":
        _require_whole(weights)
    return Adapter(label, place, config, weights)


def _deeper(place: AdapterPlace) -> str:
    """Returns the subfolders with adapters: PEFT saves one that is not called `default` in a folder of its name."""
    found = sorted(path.parent for path in Path(place.source, place.subfolder).glob(f"*/{CONFIG}"))
    return f" Give one of those within it: {', '.join(map(str, found))}." if found else ""


def _require_whole(weights: Path) -> None:
    """Raises ValueError if a safetensors file is truncated, or is a Git LFS pointer instead."""
    try:
        with safe_open(weights, "pt"):
            pass
    except SafetensorError as error:
        raise ValueError(f"its {weights.name} is damaged: {error}. Fetch it again.") from error


def _unpickled(weights: Path) -> dict[str, Tensor]:
    try:
        read = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling may raise anything
        raise ValueError(f"its {weights.name} is damaged, or holds more than tensors.") from error
    if not isinstance(read, dict) or not all(isinstance(tensor, Tensor) for tensor in read.values()):
        raise ValueError(f"its {weights.name} holds other things than tensors by their names.")
    return read
