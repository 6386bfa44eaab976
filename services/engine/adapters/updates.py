"""What an adapter does to weights: products to add to some, others in the place of some."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?:embedding_)?(?P<side>[AB])(?P<leaf>\.weight|\.bias)?")
_BASE_LAYER = ".base_layer"
"""What PEFT calls a layer within what it wraps round it."""
_TOKENS = ".token_adapter"
"""What PEFT calls the rows of tokens within what it wraps round embeddings; the whole is their base layer."""
_ROWS = ".trainable_tokens_delta"
_COPIES = (".original_module.", ".modules_to_save.")
"""Of embeddings with further tokens PEFT saves what they were, and what they are, beside what they are."""


@dataclass(frozen=True)
class Product:
    """`scale * (second @ first)`, to be added to the weight of a layer."""

    module: str
    """Name of the layer in the model that was trained."""
    depth: int
    """How many others PEFT has wrapped round this one; of experts each weight has its own."""
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
    """By the names of weights in the model that was trained."""
    rows: dict[str, Tensor] = field(default_factory=dict)
    """Of weights in which rows of some tokens alone were trained: these, by the names of layers."""

    def tokens(self, layer: str) -> list[int]:
        """Returns whose rows of a layer's weight were trained, in their order."""
        told: Any = self.config.get("trainable_token_indices") or []
        if not isinstance(told, dict):
            return told
        # One that shares the weight of another is not named.
        return next((tokens for name, tokens in told.items() if layer.endswith(name)), next(iter(told.values())))

    def scale(self, name: str, rank: int) -> float:
        """Returns what the product of a layer, or of a weight of experts, is multiplied with."""
        return self._alpha(name) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _alpha(self, name: str) -> float:
        """Returns that of the first pattern that the name ends with, as PEFT does, or all layers' own."""
        patterns: dict[str, float] = self.config.get("alpha_pattern") or {}
        for pattern, alpha in patterns.items():
            if re.match(rf"(.*\.)?({pattern})$", name):
                return alpha
        return self.config["lora_alpha"]


def updates_of(config: dict[str, Any], tensors: dict[str, Tensor]) -> Updates:
    """Returns what an adapter's configuration and its tensors mean.

    Raises:
        ValueError: there are factors without their others, or what is no part of a plain LoRA.
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
        elif ".lora_" in name:
            raise ValueError(f"its file holds {name}, which is no part of a plain LoRA.")
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
