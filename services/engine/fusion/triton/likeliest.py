"""Kernel at the end of a decode step: the greedy choice of tokens."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.fusion.triton.launch import following, power

_BLOCK = 4096


class LikeliestTokens:
    """Finds the token with the greatest logit of each row, the first of equal ones."""

    def __init__(self, rows: int, vocabulary: int, device: torch.device) -> None:
        """For up to `rows` rows of `vocabulary` logits."""
        self._parts = power(-(-vocabulary // _BLOCK))
        self._bests = torch.empty(rows, self._parts, dtype=torch.float32, device=device)
        self._places = torch.empty(rows, self._parts, dtype=torch.int32, device=device)
        self._arrivals = torch.zeros(rows, dtype=torch.int32, device=device)

    def find(self, logits: Tensor, tokens: Tensor) -> None:
        """Writes the int64 tokens `[rows]` of logits `[rows, vocabulary]`; -1 for a row whose greatest is infinite, or
        with NaN.
        """
        rows, vocabulary = logits.shape
        find_likeliest[(rows, self._parts)](
            logits, self._bests, self._places, self._arrivals, tokens, logits.stride(0), vocabulary,
            BLOCK=_BLOCK, PARTS=self._parts, **following(logits.device), num_warps=4,
        )  # fmt: skip


@triton.jit
def find_likeliest(
    logits,
    bests,
    places,
    arrivals,
    tokens,
    stride,
    count,
    BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Finds the greatest of BLOCK logits of one row. The last program of a row to finish compares all results."""
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0)
    part = tl.program_id(1)
    columns = part * BLOCK + tl.arange(0, BLOCK)
    found = tl.load(logits + row.to(tl.int64) * stride + columns, mask=columns < count, other=float("-inf"))
    found = found.to(tl.float32)
    found = tl.where(found == found, found, float("inf"))  # NaN is reported like infinity
    tl.store(bests + row * PARTS + part, tl.max(found, axis=0))
    tl.store(places + row * PARTS + part, part * BLOCK + tl.argmax(found, axis=0))
    tl.debug_barrier()
    if tl.atomic_add(arrivals + row, 1, sem="acq_rel") == PARTS - 1:
        tl.store(arrivals + row, 0)
        parts = row * PARTS + tl.arange(0, PARTS)
        candidates = tl.load(bests + parts, cache_modifier=".cg")
        best = tl.max(candidates, axis=0)
        first = tl.load(places + parts, cache_modifier=".cg")
        token = tl.min(tl.where(candidates == best, first, 2147483647), axis=0)
        tl.store(tokens + row, tl.where(tl.abs(best) < float("inf"), token, -1).to(tl.int64))
