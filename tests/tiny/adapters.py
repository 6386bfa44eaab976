"""Writes random LoRA adapters in PEFT's format, and applies them to a reference model without merging."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from services.engine.loading import LoadedModel, load_language_checkpoint
from services.process import checkpoint_of
from services.text.config import TextSettings
from services.text.task import choose_task

WEIGHTS = "adapter_model.safetensors"
_WRAPPER = "base_model.model."


def write_adapter(folder: Path, base: Path | str, tensors: dict[str, Tensor], **config: object) -> Path:
    """Writes an adapter with rank 4 and alpha 6, unless `config` changes them, and returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 4, "lora_alpha": 6} | config
    (folder / "adapter_config.json").write_text(json.dumps(told))
    save_file({_WRAPPER + name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    return folder


def factors(model: nn.Module, *endings: str, rank: int = 4) -> dict[str, Tensor]:
    """Returns LoRA factors, by name, for the linear layers whose names end with one of `endings`."""
    made: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, Conv1D)) and name.endswith(endings):
            out, into = module.weight.shape if isinstance(module, nn.Linear) else reversed(module.weight.shape)
            made |= pair(f"{name}.lora_A.weight", f"{name}.lora_B.weight", (out, into), rank)
    return made


def pair(first: str, second: str, shape: tuple[int, int], rank: int = 4) -> dict[str, Tensor]:
    """Returns the two LoRA factors, `[rank, in]` and `[out, rank]`, of a weight of `shape` (out, in), by name."""
    generator = torch.Generator().manual_seed(len(first) * 31 + sum(map(ord, first)))
    out, into = shape
    made = {first: (rank, into), second: (out, rank)}
    return {name: torch.randn(size, generator=generator) * 0.2 for name, size in made.items()}


def add_beside(model: nn.Module, folder: Path, scales: dict[str, float]) -> None:
    """Makes layers add an adapter's output, by forward hooks. `scales` has its factor by the ending of layer names."""
    tensors = {name.removeprefix(_WRAPPER): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
    for name, module in model.named_modules():
        first, second = tensors.get(f"{name}.lora_A.weight"), tensors.get(f"{name}.lora_B.weight")
        if first is not None and second is not None:
            scale = next(value for ending, value in scales.items() if name.endswith(ending))
            module.register_forward_hook(_Beside(first, second, scale))


class _Beside:
    def __init__(self, first: Tensor, second: Tensor, scale: float) -> None:
        self._first, self._second, self._scale = first, second, scale

    def __call__(self, _: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor:
        return output + self._scale * (given[0] @ self._first.T) @ self._second.T


def settings(model: Path | str, adapter: Path | str | None = None, **asked: Any) -> TextSettings:
    """Returns the settings of a text service that serves a model, on the CPU."""
    return TextSettings(model=str(model), adapter=None if adapter is None else str(adapter), device="cpu", **asked)


def load(model: Path | str, adapter: Path | str | None = None, **asked: Any) -> LoadedModel:
    """Loads a language model as the text service does."""
    checkpoint = checkpoint_of(settings(model, adapter, **asked))
    choose_task(checkpoint, "auto")
    return load_language_checkpoint(checkpoint)


def change(folder: Path, **config: object) -> None:
    """Changes fields in the adapter_config.json of an adapter."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
