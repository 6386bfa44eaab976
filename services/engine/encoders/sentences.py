"""Reads how a model embeds texts from the files of sentence-transformers: pooling, dense layers, prompts."""

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
"""The file that every sentence-transformers folder has."""
_POOLINGS = {
    "pooling_mode_cls_token": Pooling.FIRST_TOKEN,
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_max_tokens": Pooling.MAX,
    "pooling_mode_lasttoken": Pooling.LAST_TOKEN,
}
_BY_NAME = {"cls": Pooling.FIRST_TOKEN, "mean": Pooling.MEAN, "max": Pooling.MAX, "lasttoken": Pooling.LAST_TOKEN}


@dataclass(frozen=True)
class SentenceRecipe:
    """What is done with token vectors, and the prompts that go before texts."""

    subfolder: str = ""
    """The folder of the model itself."""
    pooling: Pooling = Pooling.MEAN
    pools_prompt: bool = True
    """Whether pooling includes the tokens of the prompt."""
    dense: tuple[nn.Module, ...] = ()
    """Layers after the pooling."""
    normalize: bool = True
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    most_tokens: int | None = None
    """Longest input in tokens, if set below the model's context."""
    lowercase: bool = False

    @property
    def width(self) -> int | None:
        """Width of the embeddings if dense layers determine it; otherwise None."""
        return self.dense[-1][0].out_features if self.dense else None  # type: ignore[index]


def sentence_recipe(checkpoint: Checkpoint) -> SentenceRecipe:
    """Reads the recipe from a checkpoint's files. Without such files: mean pooling, normalized.

    Raises:
        ModelRefused: The files ask for something that is not supported here.
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
    """Returns the content of a JSON file; an empty value if there is no such file."""
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
