"""Finds modules to which a model holds more references than the attribute of their parent."""

from torch import nn


def listed(model: nn.Module) -> set[nn.Module]:
    """Returns modules that are also in a plain list or tuple attribute, as in MaskFormer.

    Replacing the parent's attribute would not replace them there.
    """
    lists = (value for module in model.modules() for value in vars(module).values() if isinstance(value, (list, tuple)))
    return {each for found in lists for each in found if isinstance(each, nn.Module)}
