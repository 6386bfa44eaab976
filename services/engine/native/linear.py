"""Linear layers by the library: weights packed once and read in order; a row gets the same bits in any company."""

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
    """What the first half of a gated layer goes through, or all of another. Numbers as in native.c."""

    NONE = 0
    SILU = 1
    GELU_TANH = 2
    GELU = 3
    QUICK_GELU = 4
    RELU = 5


class LayerStruct(ctypes.Structure):
    """`Linear` of native.c."""

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
    """Returns whether the library computes this layer, and faster than torch."""
    weight = linear.weight
    return (
        weight.device.type == "cpu"
        and library.linear_pays.get(weight.dtype, False)
        and linear.in_features * weight.dtype.itemsize % UNIT == 0
    )


class NativeLinear(nn.Module):
    """Computes `[..., in] -> [..., out]` of one or more `nn.Linear` that read the same input, side by side.

    With a gate there are two, of which the first goes through the activation and is multiplied with the second. The
    weights of the layers it is made of are taken over: until `give_back` they hold none, and compute by these.
    """

    def __init__(self, library: Library, linears: Sequence[nn.Linear], arena: Arena, gate: Gate = Gate.NONE) -> None:
        super().__init__()
        self._library, self._gate = library, gate
        self._linears = tuple(linears)  # a tuple, so that they are no modules of this one
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
            linear.forward = partial(self._lent, place)  # type: ignore[assignment]
        self._read: Tensor | None = None
        self._left: dict[int, Tensor] = {}
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
        """Returns what the library knows this layer by, with an activation behind it; good as long as this lives."""
        described = LayerStruct.from_buffer_copy(self._struct)
        described.activation = activation
        return described

    @property
    def layers(self) -> Sequence[nn.Linear]:
        """Those it is made of."""
        return self._linears

    @property
    def gate(self) -> Gate:
        """What the first of them goes through, if there is a gate."""
        return self._gate

    @property
    def lines(self) -> list[int]:
        """To which of its layers each 16 columns of its panels belong; none where some belong to several."""
        if self._gate:
            return [0, 1] * self._packed.shape[0]
        if any(width % _HALF for width in self.widths[:-1]):
            return []
        parts = [part for part, width in enumerate(self.widths) for _ in range(-(-width // _HALF))]
        return parts + parts[-1:] * (2 * self._packed.shape[0] - len(parts))

    @property
    def weight(self) -> Tensor:
        """Tells models what the weight is like, and fails those that compute with it."""
        self.weight_read = True
        return TakenWeight.like(self.out_features, self.in_features, self.dtype)

    @property
    def byte_count(self) -> int:
        """What the weights take of memory."""
        return self._packed.nbytes

    @property
    def bias(self) -> Tensor | None:
        """The bias of the only layer this is made of."""
        (linear,) = self._linears
        return linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """See nn.Linear."""
        output = self._computed(inputs, self._struct)
        return output if self.exchange is None else self.exchange(output)

    def give_back(self) -> None:
        """Returns their weights to the layers it was made of. It cannot be used any more."""
        parts = _unpack(self._packed, len(self._linears) if self._gate else 1)
        if not self._gate:
            parts = parts[0][: sum(self.widths)].split(self.widths)
        for linear, width, part in zip(self._linears, self.widths, parts, strict=True):
            del linear.forward
            # It requires a gradient as models' weights do: torch multiplies others in another, often slower way.
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

    def _lent(self, place: int, inputs: Tensor) -> Tensor:
        """Returns what one of the layers it is made of computes, and keeps the others' until they are asked for."""
        if inputs is not self._read or place not in self._left:
            self._read, self._left = inputs, dict(enumerate(self._apart(inputs)))
        output = self._left.pop(place)
        if not self._left:
            self._read = None
        return output if self.exchange is None else self.exchange(output)

    def _apart(self, inputs: Tensor) -> Sequence[Tensor]:
        """Returns what each of the layers it is made of computes."""
        if not self._gate:
            return self._computed(inputs, self._struct).split(self.widths, dim=-1)
        ungated = LayerStruct.from_buffer_copy(self._struct)
        ungated.gate, ungated.outputs = Gate.NONE, self._struct.columns
        panels = self._computed(inputs, ungated).unflatten(-1, (-1, len(self.widths), _HALF))
        return [panels[..., i, :].flatten(-2)[..., :width] for i, width in enumerate(self.widths)]

    def _packed_bias(self, linears: Sequence[nn.Linear]) -> Tensor:
        """Returns the float32 biases in the order of the panels' columns."""
        parts = [
            torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().float()
            for linear in linears
        ]
        rows = [_filled(part) for part in parts] if self._gate else [_filled(torch.cat(parts), PANEL)]
        return torch.cat([row.view(-1, PANEL // len(rows)) for row in rows], dim=1).flatten().contiguous()


def _stacked(linears: Sequence[nn.Linear]) -> Tensor:
    return _filled(torch.cat([linear.weight.detach() for linear in linears]), PANEL)


def _filled(rows: Tensor, to: int = _HALF) -> Tensor:
    """Returns the rows with zeros added up to a multiple of `to`."""
    missing = -len(rows) % to
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows


def _pack(parts: list[Tensor], arena: Arena) -> Tensor:
    """Returns weights `[out, in]` as `[panels, input units, 32, numbers of a unit]`; two parts share each panel."""
    rows, width = parts[0].shape
    per = UNIT // parts[0].dtype.itemsize
    columns = PANEL // len(parts)
    packed = arena.take(len(parts) * rows * width, parts[0].dtype).view(rows // columns, width // per, PANEL, per)
    for i, part in enumerate(parts):
        panels = part.view(rows // columns, columns, width // per, per).transpose(1, 2)
        packed[:, :, i * columns : (i + 1) * columns] = panels
    return packed


def _unpack(packed: Tensor, count: int) -> Sequence[Tensor]:
    """Returns the parts `[out, in]` that `_pack` made this of."""
    _, units, _, per = packed.shape
    return [part.transpose(1, 2).reshape(-1, units * per) for part in packed.split(PANEL // count, dim=2)]
