"""Mixtures of experts on a GPU: for up to MOST_ROWS rows, kernels that read only the chosen experts; else the model's
own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from services.engine.experts import is_experts, weight_names, weights_of
from services.engine.fusion.experts import called_as_experts, known_gate
from services.engine.fusion.survey import Observation
from services.engine.fusion.triton.chosen import add_choices, arrange_pairs, multiply_chosen
from services.engine.fusion.triton.few_rows import Tile, processors_of
from services.engine.fusion.triton.launch import following, power
from services.engine.fusion.triton.linear import KINDS
from services.engine.fusion.triton.narrow import room_for
from services.engine.narrow.experts import NarrowExperts
from services.engine.native.linear import Gate

MOST_ROWS = 256
"""The most rows of a recorded step."""
_BLOCK = 1024
_TILE, _LEAST = 64, 16
"""Outputs of a tile: usually, and the fewest where smaller tiles are needed to use all multiprocessors."""


@dataclass(frozen=True)
class Products:
    """The weights of one product of all experts."""

    weights: Tensor
    """`[experts, out, in]`, with any strides."""
    factors: Tensor | None
    """Scales of 8-bit weights, float32 `[experts, out]`; None for other weights."""
    bias: Tensor | None
    """`[experts, out]`."""


@dataclass(frozen=True)
class Slots:
    """Groups of pairs (a row and one of its choices) with the same expert."""

    experts: Tensor
    """The expert of each slot."""
    counts: Tensor
    places: Tensor
    """Indices of the pairs of each slot, `[slots, length]`; the first `counts` of a slot are valid."""


class GpuExperts(nn.Module):
    """Computes `experts(rows, chosen, shares)`; see `is_experts`."""

    def __init__(self, own: nn.Module) -> None:
        """Shares the weights of `own`, which computes many rows."""
        super().__init__()
        self._own = own
        plain: Any = own.own if isinstance(own, NarrowExperts) else own
        self._first, self._last = products_of(own)
        self._activation, self._gate = known_gate(plain), plain._apply_gate if plain.has_gate else plain.act_fn
        self._norm = plain.post_expert_norm if getattr(plain, "has_post_expert_norm", False) else None
        self._experts, self._device = len(self._first.weights), self._first.weights.device
        self._processors = processors_of(self._device)
        # With one row, each choice has its own slot.
        numbers = torch.arange(self._experts, dtype=torch.int32, device=self._device)
        self._single = torch.ones_like(numbers), numbers.unsqueeze(1)
        if isinstance(own, NarrowExperts):
            self._room = room_for(self._device, own.first.dtype)
            self._room.reserve(own.first.bits.numel() + own.last.bits.numel())

    def forward(self, hidden_states: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """Returns `[T, hidden]`."""
        if not 0 < len(hidden_states) <= MOST_ROWS:
            return self._by_own(hidden_states, chosen, shares)
        rows, chosen, choices = hidden_states.contiguous(), chosen.contiguous(), chosen.shape[1]
        slots = self._slots(chosen)
        inner = self._multiply(self._first, rows, slots, chosen.numel(), choices, self._activation)
        if not self._activation:
            inner = self._gate(inner).contiguous()
        products = self._multiply(self._last, inner, slots, len(inner), 1)
        if self._norm is not None:
            products = self._norm(products)
        output, units = torch.empty_like(rows), rows.shape[1]
        add_choices[(len(rows), -(-units // _BLOCK))](
            products, shares.contiguous(), output, UNITS=units, CHOICES=choices, BLOCK=_BLOCK,
            **following(self._device), num_warps=4,
        )  # fmt: skip
        return output

    def give_back(self) -> None:
        """Does nothing: the experts still have their weights."""

    def _slots(self, chosen: Tensor) -> Slots:
        if len(chosen) == 1:
            counts, places = self._single
            return Slots(chosen[0], counts[: chosen.numel()], places[: chosen.numel()])
        pairs = chosen.numel()
        count = min(pairs, self._experts)
        experts, counts = chosen.new_empty(2, count, dtype=torch.int32)
        places = chosen.new_empty(count, pairs, dtype=torch.int32)
        arrange_pairs[(count,)](
            chosen, experts, counts, places, pairs, BLOCK=power(pairs), EACH=count == self._experts,
            **following(self._device), num_warps=4,
        )  # fmt: skip
        return Slots(experts, counts, places)

    def _multiply(
        self, products: Products, rows: Tensor, slots: Slots, pairs: int, choices: int, gate: Gate = Gate.NONE
    ) -> Tensor:
        """Returns `[pairs, out]`, half as many outputs with a gate. Each row of `rows` belongs to `choices` consecutive
        pairs.
        """
        weights, count = products.weights, len(slots.experts)
        _, units, width = weights.shape
        units = units // 2 if gate else units
        tile = tile_for(
            pairs / self._experts, count, units, width, rows.element_size(), self._processors,
            gated=bool(gate), narrow=products.factors is not None,
        )  # fmt: skip
        output = rows.new_empty(pairs, units)
        multiply_chosen[(-(-units // tile.units), count)](
            rows, weights, rows if products.factors is None else products.factors,
            rows if products.bias is None else products.bias, slots.experts, slots.counts, slots.places, output,
            slots.places.shape[1], UNITS=units, WIDTH=width, CHOICES=choices, EXPERT_STRIDE=weights.stride(0),
            UNIT_STRIDE=weights.stride(1), COLUMN_STRIDE=weights.stride(2), ROWS=tile.rows, TILE=tile.units,
            BLOCK=tile.block, FACTORS=products.factors is not None, BIAS=products.bias is not None,
            ACTIVATION=int(gate), **following(self._device), num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        return output

    def _by_own(self, *given: Tensor) -> Tensor:
        own = self._own
        if not isinstance(own, NarrowExperts):
            return own(*given)
        first, last = own.first, own.last
        wide = first.widened(self._room.like(first.bits)), self._room.like(last.bits, first.bits.numel())
        return own.computed(wide[0], last.widened(wide[1]), *given)


def tile_for(
    mean: float, slots: int, units: int, width: int, row_bytes: int, processors: int, *, gated: bool, narrow: bool
) -> Tile:
    """Returns the tile for `mean` pairs per expert on average and rows of `row_bytes` bytes per number.

    Chosen so that two such programs fit a multiprocessor, each with about 32 KiB of weights being loaded.
    """
    rows = 16 if mean <= 8 else 32 if mean <= 24 else 64
    tile, block = _TILE, max(min(256 // row_bytes, power(width)), _LEAST)
    while tile > _LEAST and slots * -(-units // tile) < processors:
        tile //= 2
    return Tile(rows, tile, block, 1, 8 if rows == 64 else 4, 3 + (not gated) + narrow)


def products_of(experts: nn.Module) -> tuple[Products, Products]:
    """Returns the first and the last product of experts, with 8-bit or other weights."""
    plain: Any = experts.own if isinstance(experts, NarrowExperts) else experts
    first, last = weight_names(plain)
    biases = [getattr(plain, f"{name}_bias").detach() if plain.has_bias else None for name in (first, last)]
    if isinstance(experts, NarrowExperts):
        narrow = (experts.first, experts.last)
        one, other = (Products(each.numbers, each.scales, bias) for each, bias in zip(narrow, biases, strict=True))
    else:
        one, other = (
            Products(weights_of(plain, name), None, bias) for name, bias in zip((first, last), biases, strict=True)
        )
    return one, other


def gpu_experts(module: nn.Module, seen: Observation) -> GpuExperts | None:
    """Returns fused experts for `module`, or None if it is no mixture of experts.

    Raises:
        ValueError: it is one, but the kernels would not give the same results.
    """
    if not (isinstance(module, NarrowExperts) or is_experts(module)):
        return None
    if not called_as_experts(seen) or seen.arguments[0].dtype not in KINDS:
        raise ValueError("they are called with other arguments, or with an unsupported dtype")
    made = GpuExperts(module)
    first = tuple(given[:1] for given in seen.arguments)
    if not Observation(first, {}, seen.output[:1]).matches(made):
        raise ValueError("the kernel gives other results for a single row")
    if first[0].device.type == "cuda":
        _compile(made, first)
    return made


@torch.inference_mode()
def _compile(experts: GpuExperts, row: Sequence[Tensor]) -> None:
    """Runs every kind of tile once, so that none has to be compiled while requests wait."""
    for count in (2**i for i in range(1, MOST_ROWS.bit_length())):
        experts(*(given.expand(count, -1) for given in row))
