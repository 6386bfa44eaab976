"""Linear layers whose weights lie in the order in which oneDNN reads them.

An ordinary `nn.Linear` has its weight rearranged at every call, which at a few rows costs more than the product. Packed
once, a decode step's linears take about half the time.
"""

import torch
from torch import Tensor, nn

_PACKABLE = {torch.float32, torch.bfloat16}


class PackedLinear(nn.Module):
    """Computes what the `nn.Linear` it is made of computes, `[..., in] -> [..., out]`, on the CPU."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.shown = torch.empty_like(linear.weight.detach(), device="meta")
        """What `weight` returns: enough for models that look at its type, and an error for those that compute with it.
        """
        self.weight_read = False

    @property
    def weight(self) -> Tensor:
        """Stands for the weight of the nn.Linear."""
        self.weight_read = True
        return self.shown

    def forward(self, inputs: Tensor) -> Tensor:
        """See nn.Linear."""
        return torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")

    def extra_repr(self) -> str:
        """Describes the layer as nn.Linear does."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Packing:
    """The packed layers of one model, and the way back."""

    def __init__(self, model: nn.Module, originals: dict[str, nn.Linear]) -> None:
        self._model = model
        self._originals = originals

    def __len__(self) -> int:
        return len(self._originals)

    def undo(self) -> None:
        """Puts the original layers back."""
        for name, linear in self._originals.items():
            _replace(self._model, name, linear)
        self._originals = {}

    def show_weights(self) -> None:
        """Lets a model that computes with the weights of its layers read them, until `settle`."""
        for name, linear in self._originals.items():
            packed = self._packed(name)
            packed.shown, packed.weight_read = linear.weight.detach(), False

    def settle(self) -> None:
        """Puts back the original layers whose weights were read since `show_weights`."""
        for name, linear in list(self._originals.items()):
            packed = self._packed(name)
            if packed.weight_read:
                _replace(self._model, name, linear)
                del self._originals[name]
            packed.shown = torch.empty_like(linear.weight.detach(), device="meta")

    def _packed(self, name: str) -> PackedLinear:
        packed = self._model.get_submodule(name)
        assert isinstance(packed, PackedLinear)
        return packed


def pack_linears(model: nn.Module) -> Packing:
    """Replaces the linear layers of a model on the CPU by packed ones.

    Layers of another class (quantized ones, say) and of other element types stay, and all of them where torch was
    built without oneDNN. The originals live as long as what is returned.
    """
    originals = {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.Linear and module.weight.device.type == "cpu" and module.weight.dtype in _PACKABLE
    }
    if not torch.backends.mkldnn.is_available():
        originals = {}
    for name, linear in originals.items():
        _replace(model, name, PackedLinear(linear))
    return Packing(model, originals)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
