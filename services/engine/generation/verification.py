"""Compares the paged engine with the model's own forward once, at load."""

import torch
from torch import Tensor

from services.engine.generation.attention.backend import IMPLEMENTATION
from services.engine.generation.page_pool import PagePool
from services.engine.generation.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel

CHUNK = 7
"""Prompt tokens per step of the check, so that chunks begin inside a page."""
_LENGTH = 24
_LONGEST = 600
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}


def tolerance(loaded: LoadedModel) -> float:
    """Returns the relative error of the logits that rounding explains."""
    return _TOLERANCE.get(loaded.model.dtype, 0.05)


class NotPaged(Exception):
    """A model's state does not go into pages, or not with equal results. The message says why in a sentence."""


def check_prompts(loaded: LoadedModel, pool: PagePool) -> Tensor:
    """Returns the prompts compared, `[prompts, tokens]`: long enough to leave a short sliding window."""
    length = min(_length(loaded), pool.page_count * pool.page_size // 2, loaded.context_tokens)
    return torch.randint(loaded.vocabulary_size, (2, length), generator=torch.Generator().manual_seed(0))


def verify(loaded: LoadedModel, runner: ModelRunner, pool: PagePool, expected: Tensor) -> None:
    """Runs the prompts in chunks, side by side, and compares their last logits with `expected`, the model's own.

    Raises:
        NotPaged: they differ by more than rounding explains.
    """
    found = engine_logits(runner, pool, check_prompts(loaded, pool))
    error = float((found - expected).norm() / expected.norm())
    if not error <= tolerance(loaded):
        raise NotPaged(
            f"{loaded.architecture} computes other logits through the paged cache than by itself (relative error "
            f"{error:.2g}): it keeps state or a bias that the attention interface does not show."
        )


def _length(loaded: LoadedModel) -> int:
    window = getattr(loaded.model.config.get_text_config(), "sliding_window", None) or 0
    return window + 2 * CHUNK if _LENGTH <= window + 2 * CHUNK <= _LONGEST else _LENGTH


@torch.inference_mode()
def model_logits(loaded: LoadedModel, prompts: Tensor) -> Tensor:
    """Returns the model's own last logits `[prompts, vocabulary]`, by its eager attention."""
    loaded.attend_by("eager")
    try:
        output = loaded.model(input_ids=prompts.to(loaded.device), use_cache=False)
    finally:
        loaded.attend_by(IMPLEMENTATION)
    return output.logits[:, -1].float()


def engine_logits(runner: ModelRunner, pool: PagePool, prompts: Tensor) -> Tensor:
    """Returns the engine's last logits `[prompts, vocabulary]`, the prompts computed in chunks beside each other."""
    sequences = [CachedTokens(ids) for ids in prompts.tolist()]
    logits = torch.empty(0)
    for sequence in sequences:
        pool.grow(sequence.pages, len(sequence.token_ids))
    while sequences[0].remaining:
        rows = [Row(sequence, min(CHUNK, sequence.remaining)) for sequence in sequences]
        logits = runner.run(rows)
        for row in rows:
            row.sequence.computed += row.token_count
    for sequence in sequences:
        pool.release(sequence.pages)
    return logits
