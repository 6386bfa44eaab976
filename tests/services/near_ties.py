"""Decides whether two outputs differ only by rounding: at almost equal logits, or a draw at the edge of two tokens."""

from collections.abc import Sequence
from typing import Any

import torch

from services.engine.loading import LoadedModel
from tests.services.bench import real_bench

_NOISE = 1e-5
"""Standard deviation of the noise on logits: ten times what another order of float32 operations changes."""
_TRIES = 64


async def part_at_a_near_tie(
    loaded: LoadedModel, prompt: list[int], fields: dict[str, Any], *found: Sequence[Sequence[int]]
) -> bool:
    """Returns whether noise on the logits produces the tokens of both outputs where they first differ.

    Args:
        loaded: The model, with its modules unchanged.
        prompt: The prompt of the request; `fields` are those of `bench.request`.
        found: The two outputs, each with the tokens of every candidate.
    """
    one, other = ([tuple(ids) for ids in candidates] for candidates in found)
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        if a == b:
            continue
        shared = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        held = tuple(ids[:shared] for ids in one)
        seen = await _tokens_behind(loaded, prompt, fields, held, i)
        if not {a[shared : shared + 1], b[shared : shared + 1]} <= seen:
            return False
    return True


async def _tokens_behind(
    loaded: LoadedModel, prompt: list[int], fields: dict[str, Any], held: tuple[tuple[int, ...], ...], candidate: int
) -> set[tuple[int, ...]]:
    """Returns the next tokens of a candidate after `held` that appear in many noisy tries; () where it ends."""
    bench = real_bench(loaded, share=False)
    run = bench.runner.run

    def noisy(rows: Any) -> torch.Tensor:
        logits = run(rows)
        return logits + _NOISE * torch.randn_like(logits)

    bench.runner.run = noisy
    asked = fields | {"max_new_tokens": len(held[candidate]) + 1, "delivered_each": held}
    try:
        results = [await bench.run(prompt, **asked) for _ in range(_TRIES)]
    finally:
        bench.engine.close()
    return {result.candidates[candidate].token_ids for result in results}
