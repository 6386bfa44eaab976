"""Finds the linear layers, norms and activation of an encoder layer, by the types and names of its modules."""

from typing import Any

from torch import nn

from services.engine.fusion.mlp import activation_of
from services.engine.native.library import UNIT
from services.engine.native.linear import Gate, NativeLinear

_LINE = 16
_QUERIES = {"query", "q_proj", "q_lin"}
_KEYS = {"key", "k_proj", "k_lin"}
_VALUES = {"value", "v_proj", "v_lin"}


class EncoderParts:
    """The parts of an encoder layer: six linear layers, two norms (float32 scales, shifts, epsilon), an activation."""

    def __init__(
        self, linears: dict[str, NativeLinear], norms: list[nn.LayerNorm], activation: Gate, width: int
    ) -> None:
        self.query, self.key, self.value, self.output, self.up, self.down = linears.values()
        self.norms = [
            (norm.weight.detach().float().contiguous(), norm.bias.detach().float().contiguous(), norm.eps)
            for norm in norms
        ]
        self.activation = activation
        self.width = width
        self.scaling = width**-0.5


def encoder_parts(layer: nn.Module) -> EncoderParts | None:
    """Returns the parts of an encoder layer whose linear layers are packed already; None for any other module."""
    linears = {name: child for name, child in layer.named_modules() if isinstance(child, (nn.Linear, NativeLinear))}
    norms = [child for child in layer.modules() if type(child) is nn.LayerNorm]
    leaves = [child for child in layer.modules() if not list(child.children())]
    known = {nn.LayerNorm, nn.Linear, NativeLinear, nn.Dropout, nn.Identity}
    activations = [child for child in leaves if type(child) not in known and not list(child.parameters())]
    heads = {child.width for child in map(_Heads, layer.modules()) if child.width}
    if len(linears) != 6 or len(norms) != 2 or len(activations) != 1 or len(heads) != 1:
        return None
    (width,), (activation,) = heads, map(activation_of, activations)
    ordered = _in_order(linears)
    whole = all(isinstance(child, NativeLinear) for child in ordered.values()) if ordered else False
    if not whole or activation is None or not all(_is_plain(norm) for norm in norms):
        return None
    parts = EncoderParts(ordered, norms, activation, width)
    return parts if _fit(parts) else None


class _Heads:
    """The width of an attention module's heads, by the attributes that transformers uses for it, or None."""

    def __init__(self, module: nn.Module) -> None:
        found = getattr(module, "attention_head_size", getattr(module, "head_dim", None))
        self.width = found if isinstance(found, int) else None


def _in_order(linears: dict[str, Any]) -> dict[str, Any]:
    """Returns query, key, value, output, up and down projection, or an empty dict if they cannot be told apart."""
    last = {name.rpartition(".")[2]: name for name in linears}
    chosen = [next((last[known] for known in names if known in last), None) for names in (_QUERIES, _KEYS, _VALUES)]
    rest = [name for name in linears if name not in chosen]
    if None in chosen or len(rest) != 3:
        return {}
    return {name: linears[name] for name in [*chosen, *rest] if name is not None}


def _is_plain(norm: nn.LayerNorm) -> bool:
    weight: Any = norm.weight
    return weight is not None and norm.bias is not None and weight.dim() == 1 and len(weight) % _LINE == 0


def _fit(parts: EncoderParts) -> bool:
    hidden, attended = parts.output.out_features, parts.query.out_features
    return (
        parts.query.in_features == parts.key.in_features == parts.value.in_features == hidden
        and parts.key.out_features == parts.value.out_features == attended == parts.output.in_features
        and (parts.up.in_features, parts.up.out_features) == (hidden, parts.down.in_features)
        and parts.down.out_features == hidden
        and attended % parts.width == 0
        and parts.width * parts.up.dtype.itemsize % UNIT == 0
        and all(len(scales) == hidden for scales, _, _ in parts.norms)
    )
