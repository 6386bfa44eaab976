"""Routers of mixtures of experts in one kernel, for up to MOST_ROWS rows; for more, the model's own."""

from typing import Any

import torch
from torch import Tensor, nn

from services.engine.fusion.router import Rule, drawn_rows, is_router, rule_of
from services.engine.fusion.survey import Observation
from services.engine.fusion.triton.experts import MOST_ROWS
from services.engine.fusion.triton.launch import following, power
from services.engine.fusion.triton.linear import KINDS
from services.engine.fusion.triton.routing import choose_experts

_ROWS, _TILE = 8, 16
"""Rows and experts of a program. Few, since the one that chooses holds several arrays of both in registers."""
_BLOCKS = {4: 64, 2: 256}
"""Columns of a weight that a program loads at once, by bytes per number: with 4, tensor cores are not used."""
_MOST_SPLITS = 8
_MOST_EXPERTS = 512


class GpuRouter(nn.Module):
    """Computes `logits, shares, chosen` of rows, see `rule_of`. The result of a row does not depend on other rows."""

    def __init__(self, own: Any, rule: Rule, output: tuple[Tensor, ...]) -> None:
        """Shares the weight of `own`, which computes many rows. Results have the dtypes of `output`, a result of it."""
        super().__init__()
        self._own, self._rule, self._types = own, rule, [each.dtype for each in output]
        self._weight: Tensor = own.weight
        self._bias: Tensor | None = getattr(own, "bias", None)
        width = self._weight.shape[1]
        self._block = min(_BLOCKS[self._weight.element_size()], max(power(width), _TILE))
        self._splits = min(power(-(-width // self._block)), _MOST_SPLITS)
        # Allocated once, since recorded CUDA graphs keep its address.
        self._arrivals = torch.zeros(MOST_ROWS // _ROWS, dtype=torch.int32, device=self._weight.device)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, ...]:
        """Returns logits `[T, experts]`, shares and chosen experts, both `[T, choices]`."""
        experts, width = self._weight.shape
        rows, rule = hidden_states.reshape(-1, width).contiguous(), self._rule
        count, device = len(rows), rows.device
        if not 0 < count <= MOST_ROWS:
            return self._own(hidden_states)
        lengths = experts, rule.choices, rule.choices
        output = tuple(rows.new_empty(count, n, dtype=kind) for n, kind in zip(lengths, self._types, strict=True))
        places = -(-count // _ROWS)
        choose_experts[(-(-experts // _TILE), places, self._splits)](
            rows, self._weight, rows if self._bias is None else self._bias,
            rows if rule.correction is None else rule.correction,
            rows.new_empty(places * self._splits * _ROWS * experts, dtype=torch.float32), self._arrivals, *output,
            count, rule.scale, EXPERTS=experts, WIDTH=width, CHOICES=rule.choices, GROUPS=rule.groups,
            OPEN=rule.open_groups, ROWS=_ROWS, TILE=_TILE, BLOCK=self._block, SPLITS=self._splits,
            BIAS=self._bias is not None, ROUNDED=rule.rounded, SIGMOID=rule.sigmoid,
            CORRECTED=rule.correction is not None, NORMALIZED=rule.normalized, **following(device), num_warps=4,
        )  # fmt: skip
        return output

    def give_back(self) -> None:
        """Does nothing: the router still has its weight."""


@torch.inference_mode()
def gpu_router(module: Any, seen: Observation) -> GpuRouter | None:
    """Returns a fused router for `module`, or None if it is no router.

    Raises:
        ValueError: it is one, but the kernel would not give the same results.
    """
    if not is_router(module):
        return None
    rule = rule_of(module, seen)
    if rule is None:
        raise ValueError("it follows no rule that the kernel knows")
    if not _takes(module.weight, rule, seen.arguments[0].dtype):
        raise ValueError("its weight's dtype, its number of experts or groups of another number are not supported")
    made, drawn = GpuRouter(module, rule, seen.output), drawn_rows(module, seen.arguments[0].dtype)
    for rows in (drawn[: 2 * _ROWS], drawn[:1], seen.arguments[0]):
        logits, found = module(rows)[0], made(rows)
        # Rounded logits may differ by one rounding step, even if they are returned in a wider dtype.
        kind = rows.dtype if rule.rounded else logits.dtype
        rounded = found[0].to(kind)
        if not (Observation((), {}, logits.to(kind)).matches(lambda rounded=rounded: rounded) and rule.holds(found)):
            raise ValueError("the kernel gives other results for random rows")
    return made


def _takes(weight: Tensor, rule: Rule, dtype: torch.dtype) -> bool:
    known = dtype in KINDS and weight.dtype in (dtype, torch.float32) and weight.is_contiguous()
    sizes = {power(count) == count for count in (len(weight), rule.groups)}
    return known and len(weight) <= _MOST_EXPERTS and (rule.groups == 1 or sizes == {True})
