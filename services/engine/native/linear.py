"""Linear layers of the native library. Weights are packed once, in the order in which the library reads them.

The result of a row does not depend on the other rows, bit for bit.
"""

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from functools import partial

import torch
from torch import Tensor, nn

from services.engine.acceleration.taken_weight import TakenWeight
from services.engine.native.arena import Arena
from services.engine.native.library import UNIT, Library
from services.engine.parallel.partial_linear import exchange_of

PANEL = 32
_HALF = PANEL // 2


class Gate(IntEnum):
    """Activations, with their numbers in native.c. In a gated layer, the first half of the outputs goes through it."""

    NONE = 0
    SILU = 1
    GELU_TANH = 2
    GELU = 3
    QUICK_GELU = 4
    RELU = 5


class LayerStruct(ctypes.Structure):
    """The struct `Linear` of native.c."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("units", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("gate", ctypes.c_int64),
        ("activation", ctypes.c_int64),
    )


def takes(library: Library, linear: nn.Linear) -> bool:
    """Returns whether the library supports this layer, and is faster than torch."""
    weight = linear.weight
    return (
        weight.device.type == "cpu"
        and library.linear_pays.get(weight.dtype, False)
        and linear.in_features * weight.dtype.itemsize % UNIT == 0
    )


class NativeLinear(nn.Module):
    """Computes `[..., in] -> [..., out]` of one or more `nn.Linear` that read the same input, with concatenated
    outputs.

    With a gate there are two layers: the result is activation(first) * second. It takes over the weights of the layers
    that it is built from. Until `give_back` these have no weights, and their forward uses the packed ones.
    """

    def __init__(self, library: Library, linears: Sequence[nn.Linear], arena: Arena, gate: Gate = Gate.NONE) -> None:
        super().__init__()
        self._library, self._gate = library, gate
        self._linears = tuple(linears)  # in a tuple, so that they are not registered as children
        self.widths = [linear.out_features for linear in linears]
        self.in_features = linears[0].in_features
        self.out_features = self.widths[0] if gate else sum(self.widths)
        self.dtype = linears[0].weight.dtype
        self.exchange = exchange_of(linears[0])
        self.weight_read = False
        rows = [_filled(linear.weight.detach()) for linear in linears] if gate else [_stacked(linears)]
        self._packed = _pack(rows, arena)
        biases = [linear.bias for linear in linears]
        self._bias = None if all(bias is None for bias in biases) else self._packed_bias(linears)
        for place, linear in enumerate(linears):
            linear.weight = None  # type: ignore[assignment]
            linear.forward = partial(self._forward_of, place)  # type: ignore[assignment]
        self._read: Tensor | None = None
        self._pending: dict[int, Tensor] = {}
        self._function = library.linear[self.dtype]
        self._struct = LayerStruct(
            self._packed.data_ptr(),
            None if self._bias is None else self._bias.data_ptr(),
            self.in_features * self.dtype.itemsize // UNIT,
            self._packed.shape[0] * PANEL,
            self.out_features,
            gate,
            Gate.NONE,
        )
        self.address = ctypes.addressof(self._struct)

    def activated(self, activation: Gate) -> LayerStruct:
        """Returns the library's description of this layer and an activation behind it, valid as long as this object."""
        described = LayerStruct.from_buffer_copy(self._struct)
        described.activation = activation
        return described

    @property
    def layers(self) -> Sequence[nn.Linear]:
        """The layers that it is built from."""
        return self._linears

    @property
    def gate(self) -> Gate:
        """The activation of the first layer, or Gate.NONE."""
        return self._gate

    @property
    def lines(self) -> list[int]:
        """The layer to which each line of 16 packed columns belongs; empty if a line has columns of several layers."""
        if self._gate:
            return [0, 1] * self._packed.shape[0]
        if any(width % _HALF for width in self.widths[:-1]):
            return []
        parts = [part for part, width in enumerate(self.widths) for _ in range(-(-width // _HALF))]
        return parts + parts[-1:] * (2 * self._packed.shape[0] - len(parts))

    @property
    def weight(self) -> Tensor:
        """A stand-in with the weight's shape and dtype. It raises if a model computes with it."""
        self.weight_read = True
        return TakenWeight.like(self.out_features, self.in_features, self.dtype)

    @property
    def byte_count(self) -> int:
        """Memory of the packed weights in bytes."""
        return self._packed.nbytes

    @property
    def bias(self) -> Tensor | None:
        """The bias of the only layer that this is built from."""
        (linear,) = self._linears
        return linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """See nn.Linear."""
        output = self._computed(inputs, self._struct)
        return output if self.exchange is None else self.exchange(output)

    def give_back(self) -> None:
        """Returns the weights to the layers that it was built from. It cannot be used afterwards."""
        parts = _unpack(self._packed, len(self._linears) if self._gate else 1)
        if not self._gate:
            parts = parts[0][: sum(self.widths)].split(self.widths)
        for linear, width, part in zip(self._linears, self.widths, parts, strict=True):
            del linear.forward
            # It requires gradients like a model's own weight: torch multiplies others in another, often slower way.
            linear.weight = nn.Parameter(part[:width].clone())

    def extra_repr(self) -> str:
        """Describes the layer as nn.Linear does."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self._bias is not None}"

    def _computed(self, inputs: Tensor, layer: LayerStruct) -> Tensor:
        inputs = inputs.contiguous()
        output = inputs.new_empty(*inputs.shape[:-1], layer.outputs)
        count = inputs.numel() // self.in_features
        self._function(
            ctypes.addressof(layer),
            inputs.data_ptr(),
            self.in_features,
            count,
            None,
            output.data_ptr(),
            layer.outputs,
            self._library.threads,
        )
        return output

    def _forward_of(self, place: int, inputs: Tensor) -> Tensor:
        """Returns the output of one of the layers that it is built from; keeps the others' for calls with the same
        inputs.
        """
        if inputs is not self._read or place not in self._pending:
            self._read, self._pending = inputs, dict(enumerate(self._apart(inputs)))
        output = self._pending.pop(place)
        if not self._pending:
            self._read = None
        return output if self.exchange is None else self.exchange(output)

    def _apart(self, inputs: Tensor) -> Sequence[Tensor]:
        """Returns the output of each layer that it is built from."""
        if not self._gate:
            return self._computed(inputs, self._struct).split(self.widths, dim=-1)
        ungated = LayerStruct.from_buffer_copy(self._struct)
        ungated.gate, ungated.outputs = Gate.NONE, self._struct.columns
        panels = self._computed(inputs, ungated).unflatten(-1, (-1, len(self.widths), _HALF))
        return [panels[..., i, :].flatten(-2)[..., :width] for i, width in enumerate(self.widths)]

    def _packed_bias(self, linears: Sequence[nn.Linear]) -> Tensor:
        """Returns the float32 biases in the order of the packed columns."""
        parts = [
            torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().float()
            for linear in linears
        ]
        rows = [_filled(part) for part in parts] if self._gate else [_filled(torch.cat(parts), PANEL)]
        return torch.cat([row.view(-1, PANEL // len(rows)) for row in rows], dim=1).flatten().contiguous()


def _stacked(linears: Sequence[nn.Linear]) -> Tensor:
    return _filled(torch.cat([linear.weight.detach() for linear in linears]), PANEL)


def _filled(rows: Tensor, to: int = _HALF) -> Tensor:
    """Returns the rows padded with zeros to a multiple of `to`."""
    missing = -len(rows) % to
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows


def _pack(parts: list[Tensor], arena: Arena) -> Tensor:
    """Packs weights `[out, in]` as `[panels, input units, 32, numbers of a unit]`. Two parts share the columns of each
    panel.
    """
    rows, width = parts[0].shape
    per = UNIT // parts[0].dtype.itemsize
    columns = PANEL // len(parts)
    packed = arena.take(len(parts) * rows * width, parts[0].dtype).view(rows // columns, width // per, PANEL, per)
    for i, part in enumerate(parts):
        panels = part.view(rows // columns, columns, width // per, per).transpose(1, 2)
        packed[:, :, i * columns : (i + 1) * columns] = panels
    return packed


def _unpack(packed: Tensor, count: int) -> Sequence[Tensor]:
    """Returns the parts `[out, in]` from which `_pack` has built this."""
    _, units, _, per = packed.shape
    return [part.transpose(1, 2).reshape(-1, units * per) for part in packed.split(PANEL // count, dim=2)]
