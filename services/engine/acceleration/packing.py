"""Linear layers on the CPU whose weights are packed once, in the order in which the product reads them.

An ordinary `nn.Linear` packs its weight again at every call, which for a few rows costs more than the product. Packing
at load, by the native library where that is faster and else by oneDNN, halves the time of the linear layers of a decode
step.
"""

import torch
from torch import Tensor, nn

from services.engine.acceleration.listed_modules import listed
from services.engine.acceleration.taken_weight import TakenWeight
from services.engine.fusion.substitution import Substitutions
from services.engine.native.arena import Arena
from services.engine.native.library import Library
from services.engine.native.linear import NativeLinear, takes


class OneDnnLinear(nn.Module):
    """Computes the same as an `nn.Linear`, `[..., in] -> [..., out]`, on the CPU, and takes over its weight.

    Until `give_back`, that layer has no weight, and its forward is this one's.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._linear = (linear,)  # in a tuple, so that it is not registered as a child
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.dtype = linear.weight.dtype
        self.weight_read = False
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach()
        linear.weight = None  # type: ignore[assignment]
        linear.forward = self.forward  # type: ignore[assignment]

    @property
    def weight(self) -> Tensor:
        """A stand-in with the weight's shape and dtype. It raises if a model computes with it."""
        self.weight_read = True
        return TakenWeight.like(self.out_features, self.in_features, self.dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """See nn.Linear."""
        return torch.ops.mkldnn._linear_pointwise(inputs, self._weight, self.bias, "none", [], "")

    def give_back(self) -> None:
        """Returns the weight to the layer that it was built from."""
        del self._linear[0].forward
        self._linear[0].weight = nn.Parameter(self._weight.to_dense())

    def extra_repr(self) -> str:
        """Describes the layer as nn.Linear does."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def pack_linears(substitutions: Substitutions, model: nn.Module, library: Library | None, arena: Arena) -> None:
    """Replaces the linear layers of a model on the CPU by packed ones.

    These stay as they are: other classes, such as quantized layers; tensor parallel weights; dtypes that cannot be
    packed; and layers that a module also calls from a list, which would keep the old one.
    """
    kept = listed(model)
    for name, module in list(model.named_modules()):
        if type(module) is not nn.Linear or type(module.weight) is not nn.Parameter or module in kept:
            continue
        if module.weight.device.type != "cpu":
            continue
        if library is not None and takes(library, module):
            substitutions.put(name, NativeLinear(library, [module], arena))
        elif _packs(module.weight.dtype):
            substitutions.put(name, OneDnnLinear(module))


def _packs(dtype: torch.dtype) -> bool:
    """Returns whether oneDNN packs weights of this dtype here: bfloat16 only on processors with AVX-512."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
