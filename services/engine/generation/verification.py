"""Compares the engine with the model's own forward once, at load, and refuses a model on which they differ."""

import torch
from torch import Tensor

from services.engine.generation.attention.backend import IMPLEMENTATION
from services.engine.generation.page_pool import PagePool
from services.engine.generation.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel, ModelRefused

CHUNK = 7
"""Prompt tokens per step of the check, so that chunks begin inside a page."""
_LENGTH = 24
_LONGEST = 600
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Relative error of the logits that rounding explains; half precision has 0.05."""


def check_prompts(loaded: LoadedModel, pool: PagePool) -> Tensor:
    """Returns the prompts compared, `[prompts, tokens]`: long enough to leave a short sliding window."""
    length = min(_length(loaded), pool.page_count * pool.page_size // 2, loaded.context_tokens)
    return torch.randint(loaded.vocabulary_size, (2, length), generator=torch.Generator().manual_seed(0))


def verify(loaded: LoadedModel, runner: ModelRunner, pool: PagePool, expected: Tensor) -> None:
    """Runs the prompts in chunks, side by side, and compares their last logits with `expected`, the model's own.

    Raises:
        ModelRefused: they differ by more than rounding explains.
    """
    found = engine_logits(runner, pool, check_prompts(loaded, pool))
    error = float((found - expected).norm() / expected.norm())
    if not error <= TOLERANCE.get(loaded.model.dtype, 0.05):
        raise ModelRefused(
            f"{loaded.architecture} computes other logits through the paged cache than by itself (relative error "
            f"{error:.2g}). It keeps state or a bias that the attention interface does not show, and is not served yet."
        )


def _length(loaded: LoadedModel) -> int:
    window = getattr(loaded.model.config.get_text_config(), "sliding_window", None) or 0
    return window + 2 * CHUNK if _LENGTH <= window + 2 * CHUNK <= _LONGEST else _LENGTH


@torch.inference_mode()
def model_logits(loaded: LoadedModel, prompts: Tensor) -> Tensor:
    """Returns the model's own last logits `[prompts, vocabulary]`, by its eager attention."""
    loaded.model.set_attn_implementation("eager")
    try:
        output = loaded.model(input_ids=prompts.to(loaded.device), use_cache=False)
    finally:
        loaded.model.set_attn_implementation(IMPLEMENTATION)
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
