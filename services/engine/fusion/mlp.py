"""Gated feed-forward layers: gate and up product, activation and multiplication in one pass over the weights."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu, silu

from services.engine.fusion.survey import TOLERANCE
from services.engine.narrow.linear import NarrowLinear
from services.engine.native.arena import Arena
from services.engine.native.library import Library
from services.engine.native.linear import Gate, NativeLinear, takes
from services.engine.parallel.partial_linear import PartialLinear

AnyLinear = nn.Linear | NarrowLinear

_LARGE = 100.0
"""Size of the products in the test for clipping: above every model's limit, and without overflow in half precision."""


class FusedMlp(nn.Module):
    """Computes `down(act(gate(x)) * up(x))`."""

    def __init__(self, gated: NativeLinear, down: NativeLinear) -> None:
        super().__init__()
        self.gated = gated
        self.down = down

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Returns `[..., hidden]`."""
        return self.down(self.gated(hidden_states))

    def give_back(self) -> None:
        """Returns the weights to the layers that it was built from."""
        self.gated.give_back()
        self.down.give_back()


def is_gated_mlp(module: nn.Module) -> bool:
    """Returns whether this is a gated feed-forward layer, by the names of its linear layers."""
    return set(linear_children(module)) == {"gate_proj", "up_proj", "down_proj"}


def linear_children(module: nn.Module) -> dict[str, AnyLinear]:
    """Returns the linear layers that are direct children, by name: nn.Linear, tensor parallel and 8-bit ones."""
    return {
        name: child
        for name, child in module.named_children()
        if type(child) is nn.Linear or isinstance(child, (PartialLinear, NarrowLinear))
    }


def ordinary(linears: Iterable[AnyLinear]) -> list[nn.Linear]:
    """Returns the layers without 8-bit weights."""
    return [linear for linear in linears if isinstance(linear, nn.Linear)]


def fused_mlp(module: nn.Module, library: Library, arena: Arena) -> FusedMlp | None:
    """Returns a fused layer for `module`, or None if it is not a gated feed-forward layer of a known kind."""
    if not is_gated_mlp(module):
        return None
    linears = linear_children(module)
    if len(ordinary(linears.values())) < len(linears):
        return None
    gate, up, down = ordinary(linears[name] for name in ("gate_proj", "up_proj", "down_proj"))
    kind = activation_of(getattr(module, "act_fn", None))
    if (
        kind is None
        or gate.weight.shape != up.weight.shape
        or not all(takes(library, each) for each in (gate, up, down))
        or not gates_plainly(module)
    ):
        return None
    return FusedMlp(NativeLinear(library, [gate, up], arena, kind), NativeLinear(library, [down], arena))


class _Reached(Exception):
    """Stops a forward before its last product, which tensor parallel ranks would have to compute together."""

    def __init__(self, given: Tensor) -> None:
        super().__init__()
        self.given = given


def _stop(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    raise _Reached(arguments[0])


@torch.inference_mode()
def gates_plainly(module: nn.Module) -> bool:
    """Returns whether the layer computes `act(gate(x)) * up(x)` for large numbers too.

    Some models clip these products at a limit that a comparison on few tokens does not reach.
    """
    gate, up, down = (module.get_submodule(name) for name in ("gate_proj", "up_proj", "down_proj"))
    weight: Any = next(gate.parameters())
    dtype = gate.dtype if isinstance(gate, NarrowLinear) else weight.dtype
    width: Any = gate.in_features
    rows = torch.randn(1, 4, width, generator=torch.Generator().manual_seed(0)).to(weight.device, dtype)
    rows *= _LARGE / max(float(each(rows).abs().max()) for each in (gate, up))
    plain: Tensor = module.act_fn(gate(rows)) * up(rows)  # type: ignore[operator]
    hook = down.register_forward_pre_hook(_stop)
    try:
        module(rows)
    except _Reached as reached:
        return float((reached.given - plain).float().norm()) <= TOLERANCE[dtype] * float(plain.float().norm())
    finally:
        hook.remove()
    return False


def activation_of(activation: Any) -> Gate | None:
    """Returns the activation of the library that gives the same values, or None."""
    if activation is None:
        return None
    few = torch.linspace(-6, 6, 97)
    x = torch.cat([few, few * _LARGE])  # some cut off what is large
    known = {
        Gate.SILU: silu(x),
        Gate.GELU_TANH: gelu(x, approximate="tanh"),
        Gate.GELU: gelu(x),
        Gate.QUICK_GELU: x * torch.sigmoid(1.702 * x),
        Gate.RELU: relu(x),
    }
    return next((kind for kind, values in known.items() if torch.allclose(activation(x), values, atol=1e-6)), None)
