"""Modules that cannot be replaced by their names alone."""

from torch import nn


def listed(model: nn.Module) -> set[nn.Module]:
    """Returns modules that others hold in an ordinary list or tuple, by which they call them, as MaskFormer's do."""
    lists = (value for module in model.modules() for value in vars(module).values() if isinstance(value, (list, tuple)))
    return {each for found in lists for each in found if isinstance(each, nn.Module)}
