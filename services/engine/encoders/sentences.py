"""How a model makes one vector of a text, as the folders of sentence-transformers tell it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules import activation

from services.engine.checkpoint import Checkpoint, ModelRefused, find_file
from services.engine.encoders.pooling import Pooling

MODULES = "modules.json"
"""Lies in the folders of sentence-transformers, whatever the model's own class."""
_POOLINGS = {
    "pooling_mode_cls_token": Pooling.FIRST_TOKEN,
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_max_tokens": Pooling.MAX,
    "pooling_mode_lasttoken": Pooling.LAST_TOKEN,
}
_BY_NAME = {"cls": Pooling.FIRST_TOKEN, "mean": Pooling.MEAN, "max": Pooling.MAX, "lasttoken": Pooling.LAST_TOKEN}


@dataclass(frozen=True)
class SentenceRecipe:
    """What follows a model's token vectors, and what goes before its texts."""

    subfolder: str = ""
    """Where the model itself lies."""
    pooling: Pooling = Pooling.MEAN
    pools_prompt: bool = True
    """Whether the tokens of a prompt are pooled along."""
    dense: tuple[nn.Module, ...] = ()
    """Layers behind the pooling."""
    normalize: bool = True
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    most_tokens: int | None = None
    """What it was trained to read, if that is less than it could."""
    lowercase: bool = False

    @property
    def width(self) -> int | None:
        """Numbers in a vector, if layers behind the pooling decide that."""
        return self.dense[-1][0].out_features if self.dense else None  # type: ignore[index]


def sentence_recipe(checkpoint: Checkpoint) -> SentenceRecipe:
    """Returns what the files of a checkpoint say; for one that says nothing the mean, normalized.

    Raises:
        ModelRefused: they ask for what is not known here.
    """
    if find_file(checkpoint, MODULES) is None:
        return SentenceRecipe()
    modules: list[dict[str, str]] = _read(checkpoint, MODULES)
    found: dict[str, Any] = {"normalize": False}
    dense: list[nn.Module] = []
    for module in modules:
        kind, path = module["type"].rpartition(".")[2], module["path"]
        if kind == "Transformer":
            found |= {"subfolder": path, **_transformer(checkpoint, path)}
        elif kind == "Pooling":
            found |= _pooling(_read(checkpoint, f"{path}/config.json"))
        elif kind == "Dense":
            dense.append(_dense(checkpoint, path))
        elif kind == "Normalize":
            found["normalize"] = True
        else:
            raise ModelRefused(f"{checkpoint.source} has a module {kind} in {MODULES}, which is not known here.")
    told = _read(checkpoint, "config_sentence_transformers.json")
    prompts = told.get("prompts") or {}
    default = prompts.get(told.get("default_prompt_name") or "", "")
    return SentenceRecipe(**found, dense=tuple(dense), prompts=prompts, default_prompt=default)


def _read(checkpoint: Checkpoint, name: str) -> Any:
    """Returns what a file in JSON holds; nothing if there is none."""
    path = find_file(checkpoint, name)
    return {} if path is None else json.loads(path.read_text())


def _transformer(checkpoint: Checkpoint, path: str) -> dict[str, Any]:
    told = _read(checkpoint, str(Path(path) / "sentence_bert_config.json"))
    return {"most_tokens": told.get("max_seq_length"), "lowercase": bool(told.get("do_lower_case"))}


def _pooling(told: dict[str, Any]) -> dict[str, Any]:
    if name := told.get("pooling_mode"):
        modes = [_BY_NAME.get(name)]
    else:
        modes = [_POOLINGS.get(key) for key, on in told.items() if key.startswith("pooling_mode_") and on]
    if len(modes) != 1 or modes[0] is None:
        raise ModelRefused(f"Its pooling is not known here: {told}. Known are one of {', '.join(_POOLINGS)}.")
    return {"pooling": modes[0], "pools_prompt": told.get("include_prompt", True)}


def _dense(checkpoint: Checkpoint, path: str) -> nn.Module:
    told, weights = _read(checkpoint, f"{path}/config.json"), find_file(checkpoint, f"{path}/model.safetensors")
    name = told.get("activation_function", "torch.nn.modules.activation.Tanh").rpartition(".")[2]
    if weights is None or not (name == "Identity" or name in activation.__all__):
        raise ModelRefused(f"{checkpoint.source}/{path} lacks weights in safetensors, or its activation is not known.")
    linear = nn.Linear(told["in_features"], told["out_features"], bias=told.get("bias", True))
    linear.load_state_dict({key.removeprefix("linear."): value.float() for key, value in load_file(weights).items()})
    function = nn.Identity() if name == "Identity" else getattr(activation, name)()
    return nn.Sequential(linear, function).to(checkpoint.device, torch.float32).eval()
