"""Compares the paged engine with the model's own forward at load."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from services.engine.acceleration.tolerance import must_be_numbers
from services.engine.checkpoint import ModelRefused
from services.engine.generation.attention.backend import IMPLEMENTATION
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel

CHUNK = 7
"""Prompt tokens per step of the check, so that chunks begin inside a page."""
_LENGTH = 24
_LONGEST = 600
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_HALF = {torch.bfloat16, torch.float16}
_NOISE = 2.0
"""The error allowed in half precision, in multiples of the model's rounding noise."""
_MOST = 0.25
"""The most that is ever allowed: unrelated logits have a relative error of 1.4."""
NARROW_ERROR = 0.2
"""Relative error allowed with an 8-bit cache: each number is off by up to a sixteenth, 3 % on average."""


def tolerance(loaded: LoadedModel) -> float:
    """Returns the relative error of logits that is allowed for rounding."""
    return _TOLERANCE.get(loaded.model.dtype, 0.05)


class NotPaged(Exception):
    """The model cannot be run with a paged cache, or not with equal results. The message says why in a sentence."""


def check_prompts(loaded: LoadedModel, pool: PagePool) -> Tensor:
    """Returns the prompts to compare, `[2, tokens]`: longer than a short sliding window, if their pages fit the pool.

    Raises:
        ModelRefused: not even a page of each fits.
    """
    length = min(_length(loaded), pool.page_count // 2 * pool.page_size, loaded.context_tokens)
    if not length:
        raise ModelRefused("The cache is too small to check the model in; give it more with --cache-mib.")
    return torch.randint(loaded.vocabulary_size, (2, length), generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Expected:
    """The logits that the engine must reproduce."""

    logits: Tensor
    """The model's own, `[prompts, vocabulary]`."""
    allowed: float
    """The relative error allowed."""

    @classmethod
    def of(cls, loaded: LoadedModel, prompts: Tensor) -> "Expected":
        """Computes them with the model's own modules, and the error allowed from the model's sensitivity to rounding.

        Raises:
            ModelRefused: it computes what is no number.
        """
        logits, allowed = model_logits(loaded, prompts), tolerance(loaded)
        must_be_numbers(loaded.model, [logits])
        if loaded.model.dtype in _HALF:
            with rounded_anew(loaded.model):
                noise = model_logits(loaded, prompts) - logits
            allowed = max(allowed, min(_NOISE * float(noise.norm() / logits.norm()), _MOST))
        return cls(logits, allowed)


def verify(
    loaded: LoadedModel, runner: ModelRunner, pool: PagePool, expected: Expected, allowed: float | None = None
) -> None:
    """Runs the prompts in chunks, side by side, and compares their last logits with the model's own.

    One of them is compared alone too, with a last step of one token: such steps may have kernels of their own.

    Raises:
        NotPaged: they differ by more than `allowed`, by default that of `expected`.
    """
    allowed = expected.allowed if allowed is None else allowed
    prompts = check_prompts(loaded, pool)
    alone = engine_logits(runner, pool, prompts[:1], chunk=max(prompts.shape[1] - 1, 1))
    found = torch.cat([engine_logits(runner, pool, prompts), alone])
    wanted = torch.cat([expected.logits, expected.logits[:1]])
    error = float((found - wanted).norm() / wanted.norm())
    if not error <= allowed:
        raise NotPaged(
            f"{loaded.architecture} computes other logits through the paged cache than by itself (relative error "
            f"{error:.2g}, {allowed:.2g} allowed): it keeps state or a bias that the attention interface does "
            "not show."
        )


@contextmanager
def rounded_anew(model: nn.Module) -> Generator[None]:
    """Makes each leaf module return numbers with random errors of up to half a unit in the last place.

    A kernel that adds in another order has such errors too, and deep models amplify them.
    """
    generators: dict[torch.device, torch.Generator] = {}

    def disturb(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or output.dtype not in _HALF:
            return None
        known = generators.get(output.device)
        if known is None:
            known = generators[output.device] = torch.Generator(output.device).manual_seed(0)
        off = torch.rand(output.shape, generator=known, device=output.device) - 0.5
        return (output * (1 + torch.finfo(output.dtype).eps * off)).to(output.dtype)

    inner = [module for module in model.modules() if next(module.children(), None) is None]
    hooks = [module.register_forward_hook(disturb) for module in inner]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _length(loaded: LoadedModel) -> int:
    window = getattr(loaded.model.config.get_text_config(), "sliding_window", None) or 0
    return window + 2 * CHUNK if _LENGTH <= window + 2 * CHUNK <= _LONGEST else _LENGTH


@torch.inference_mode()
def model_logits(loaded: LoadedModel, prompts: Tensor) -> Tensor:
    """Returns the model's own last logits `[prompts, vocabulary]`, by its eager attention.

    Raises:
        ModelRefused: its configuration lacks what its code asks for.
    """
    loaded.attend_by("eager")
    try:
        output = loaded.model(input_ids=prompts.to(loaded.device), use_cache=False)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelRefused(f"{loaded.architecture} does not run: {error}") from error
    finally:
        loaded.attend_by(IMPLEMENTATION)
    return output.logits[:, -1].float()


def engine_logits(
    runner: ModelRunner, pool: PagePool, prompts: Tensor, chunk: int = CHUNK, *, adapter: str = ""
) -> Tensor:
    """Returns the engine's last logits `[prompts, vocabulary]`, the prompts computed in chunks beside each other."""
    sequences = [CachedTokens(ids, adapter=adapter) for ids in prompts.tolist()]
    logits = torch.empty(0)
    for sequence in sequences:
        pool.grow(sequence.pages, len(sequence.token_ids))
    while sequences[0].remaining:
        rows = [Row(sequence, min(chunk, sequence.remaining)) for sequence in sequences]
        logits = runner.run(rows)
        for row in rows:
            row.sequence.computed += row.token_count
    for sequence in sequences:
        pool.release(sequence.pages)
    return logits
