"""Checks that an adapter changes all layers of its kind, since one of a shallower model would fit by its names."""

import re
from collections.abc import Collection
from typing import Any

from torch import nn

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def require_every_layer(config: dict[str, Any], changed: Collection[str], model: nn.Module, made_for: str) -> None:
    """Checks that there are factors for every layer whose name differs from a changed layer's only in its number.

    Only for target modules by PEFT's own rules. PEFT itself warns of such a layer, and leaves it unchanged.

    Raises:
        ValueError: the adapter leaves out such a layer.
    """
    kinds = {_NUMBER.sub("*", name) for name in changed if _is_target(config, name)}
    for name, _ in model.named_modules():
        if name not in changed and _NUMBER.sub("*", name) in kinds and _is_target(config, name):
            raise ValueError(f"it changes other layers like {name}, and not that one, which the model has.{made_for}")


def _is_target(config: dict[str, Any], name: str) -> bool:
    """Returns whether an adapter with this configuration changes a layer of that name."""
    targets: Any = config.get("target_modules") or ()
    excluded: Any = config.get("exclude_modules") or ()
    saved: Any = config.get("modules_to_save") or ()
    if names(excluded, name) or any(re.match(rf"(.*\.)?{module}(\.|$)", name) for module in saved):
        return False
    if isinstance(targets, str):
        return names(targets, name)
    return names(targets, name) and _is_chosen(config, name)


def names(told: Any, name: str) -> bool:
    """Returns whether a pattern matches a name, or the name ends with one of several names."""
    if isinstance(told, str):
        return re.fullmatch(told, name) is not None
    return any(f".{name}".endswith(f".{each}") for each in told)


def _is_chosen(config: dict[str, Any], name: str) -> bool:
    """Returns whether a layer's number is among those that are changed."""
    chosen: Any = config.get("layers_to_transform")
    if chosen is None or chosen == []:
        return True
    lists: Any = config.get("layers_pattern") or [r"[^.]*"]
    lists = [lists] if isinstance(lists, str) else lists
    found = [match for each in lists if (match := re.match(rf"(?:.*?\.)?{each}\.(\d+)\.", name))]
    return bool(found) and int(found[0][1]) in ([chosen] if isinstance(chosen, int) else chosen)
