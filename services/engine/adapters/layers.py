"""Checks that an adapter changes all layers of its kind, since one of a shallower model would fit by its names."""

import re
from collections.abc import Collection
from typing import Any

from torch import nn

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def require_every_layer(config: dict[str, Any], changed: Collection[str], model: nn.Module, made_for: str) -> None:
    """Checks that there are factors for every layer whose name differs from a changed layer's only in its number.

    Only if the configuration lists target modules by their names within a block: PEFT then changes them in all blocks.

    Raises:
        ValueError: the adapter leaves out such a layer.
    """
    targets: Any = config.get("target_modules")
    if not isinstance(targets, list) or any(_NUMBER.search(f".{target}") for target in targets):
        return
    if config.get("layers_to_transform") is not None or config.get("exclude_modules"):
        return
    kinds = {_NUMBER.sub("*", name) for name in changed if name.endswith(tuple(targets))}
    for name, _ in model.named_modules():
        if name not in changed and _NUMBER.sub("*", name) in kinds:
            raise ValueError(f"it changes other layers like {name}, and not that one, which the model has.{made_for}")
