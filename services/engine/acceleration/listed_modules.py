"""Modules that replacing an attribute of their parent does not replace everywhere."""

from torch import nn


def listed(model: nn.Module) -> set[nn.Module]:
    """Returns modules that others also keep, and call, in a plain list or tuple, as MaskFormer does."""
    lists = (value for module in model.modules() for value in vars(module).values() if isinstance(value, (list, tuple)))
    return {each for found in lists for each in found if isinstance(each, nn.Module)}
