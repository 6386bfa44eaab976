"""What an adapter changes: products to add to weights, and weights or rows to replace."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from services.engine.adapters.layers import names

_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?:embedding_)?(?P<side>[AB])(?P<leaf>\.weight|\.bias)?")
_BASE_LAYER = ".base_layer"
"""PEFT's name for the original layer within its wrapper."""
_TOKENS = ".token_adapter"
"""PEFT's name for the wrapper of trained token rows within its wrapper of embeddings, whose base layer has all rows."""
_ROWS = ".trainable_tokens_delta"
_COPIES = (".original_module.", ".modules_to_save.")
"""Of embeddings with added tokens PEFT also saves these copies, which are ignored."""
_OF_TRAINING = ".lora_velora_"
"""State of VeLoRA's gradient compression, which only training reads."""
_EMBEDDINGS = ("embed_tokens", "lm_head")
"""The only names by which PEFT recognizes embeddings and output layers with `ensure_weight_tying`."""


@dataclass(frozen=True)
class Product:
    """`scale * (second @ first)`, to be added to the weight of a layer."""

    module: str
    """Name of the layer in the trained model."""
    depth: int
    """Number of PEFT wrappers around this one: each trained weight of a module of experts has its own."""
    first: Tensor
    """`[rank, in, …]`, PEFT's A."""
    second: Tensor
    """`[out, rank, …]`, PEFT's B."""
    bias: Tensor | None
    """To be scaled and added to the layer's own bias."""


@dataclass(frozen=True)
class Updates:
    """All that an adapter changes."""

    config: dict[str, Any]
    products: list[Product] = field(default_factory=list)
    replaced: dict[str, Tensor] = field(default_factory=dict)
    """Weights that replace the model's, by name in the trained model."""
    rows: dict[str, Tensor] = field(default_factory=dict)
    """Trained rows of the weights of which only the rows of some tokens were trained, by layer name."""

    def tokens(self, layer: str) -> list[int]:
        """Returns the token ids of a layer's trained rows, in order."""
        told: Any = self.config.get("trainable_token_indices") or []
        if not isinstance(told, dict):
            return told
        # A layer that shares another layer's weight is not listed.
        return next((tokens for name, tokens in told.items() if layer.endswith(name)), next(iter(told.values())))

    @property
    def ties(self) -> bool:
        """Whether embeddings and the layers that share their weight were trained as one."""
        if not self.config.get("ensure_weight_tying"):
            return False
        targets: Any = self.config.get("target_modules") or ()
        saved: Any = self.config.get("modules_to_save") or ()
        if isinstance(targets, str):
            named = any(re.fullmatch(targets, name) for name in _EMBEDDINGS)
        else:
            named = any(name.rpartition(".")[2] in _EMBEDDINGS for name in targets)
        return named or any(name.rpartition(".")[2] in _EMBEDDINGS for name in saved)

    def aims_at(self, weight: str) -> bool:
        """Returns whether a parameter was selected by its own name (`target_parameters`), not by its layer's."""
        return names(self.config.get("target_parameters") or (), weight)

    def scale(self, module: str, rank: int, leaf: str = "weight") -> float:
        """Returns the scale of the product of a layer's weight, or of another parameter of it.

        Raises:
            ValueError: the configuration tells another rank, and so another scale.
        """
        weight = f"{module}.{leaf}"
        name = weight if self.aims_at(weight) else module
        told = self._of("rank_pattern", name, self.config.get("r", 8))
        if rank != told:
            raise ValueError(
                f"its factors of {name} are of rank {rank}, and its configuration says {told}: one is wrong."
            )
        alpha = self._of("alpha_pattern", name, self.config["lora_alpha"])
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _of(self, patterns: str, name: str, other: float) -> float:
        """Returns the value of the first pattern that matches the name's end, as PEFT does, or the default."""
        told: dict[str, float] = self.config.get(patterns) or {}
        return next((value for key, value in told.items() if re.match(rf"(.*\.)?({key})$", name)), other)


def updates_of(config: dict[str, Any], tensors: dict[str, Tensor]) -> Updates:
    """Interprets an adapter's configuration and tensors.

    Raises:
        ValueError: one factor of a pair is missing, or a tensor does not belong to a plain LoRA.
    """
    factors: dict[str, dict[str, Tensor]] = {}
    found = Updates(config)
    for wrapped, tensor in tensors.items():
        name = wrapped.replace(_TOKENS, "")
        if name.endswith(_ROWS):
            found.rows[name.removesuffix(_ROWS)] = tensor
        elif match := _FACTOR.fullmatch(name):
            side = match["side"] + ("bias" if match["leaf"] == ".bias" else "")
            factors.setdefault(match["module"], {})[side] = tensor
        elif _OF_TRAINING in name:
            continue
        elif ".lora_" in name:
            raise ValueError(
                f"its file holds {name}, which is no part of a plain LoRA as PEFT's save_pretrained saves it."
            )
        elif not any(copy in name for copy in _COPIES):
            found.replaced[name.replace(f"{_BASE_LAYER}.", ".")] = tensor
    for wrapped, sides in factors.items():
        if not {"A", "B"} <= sides.keys() <= {"A", "B", "Bbias"}:
            raise ValueError(f"of {wrapped} its file holds but {', '.join(sorted(sides))} of A and B: it is damaged.")
        if min(sides["A"].dim(), sides["B"].dim()) < 2:
            raise ValueError(f"its factors of {wrapped} are no matrices: it is damaged.")
        module, depth = wrapped.replace(_BASE_LAYER, ""), wrapped.count(_BASE_LAYER)
        found.products.append(Product(module, depth, sides["A"], sides["B"], sides.get("Bbias")))
    if not (found.products or found.replaced or found.rows):
        raise ValueError("its file holds no weights.")
    return found
