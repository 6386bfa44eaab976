"""Measures the memory that the largest step takes, by running it."""

import logging

import torch
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.device.memory import DeviceMemory
from services.engine.device.memory_errors import lacks_memory
from services.engine.generation.building.memory_plan import StepCosts
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.recording import graph_bytes
from services.engine.generation.recorded.step_shape import MOST_DECODING, MOST_PROPOSING
from services.engine.generation.requests.request import SamplingParameters
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sampling.device_choice import NUMBERS, choose
from services.engine.generation.sampling.inversion import invert
from services.engine.generation.sampling.sampler import scaled
from services.engine.generation.sampling.truncation import truncate
from services.engine.generation.sequence import SCORED_TOKEN_COST, CachedTokens, Row
from services.engine.loading import LoadedModel

log = logging.getLogger(__name__)

_DEMANDING = SamplingParameters(temperature=1.0, top_p=0.999999, typical_p=0.999)
"""The parameters whose sampling takes the most memory: they sort the whole vocabulary twice."""


def step_costs(
    loaded: LoadedModel, settings: EngineSettings, runner: ModelRunner, pool: PagePool, memory: DeviceMemory, most: int
) -> StepCosts:
    """Runs the largest possible steps, with contexts of at most `most` tokens, and records the largest decode step.

    Raises:
        ModelRefused: not even one of them fits.
    """
    longest = max(min(loaded.context_tokens, most), 1)
    try:
        steps = max(
            memory.peak(lambda rows=rows: _run(runner, rows)) for rows in largest_steps(settings, pool, longest)
        )
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise ModelRefused(
            f"A step of {settings.prefill_tokens} prompt tokens beside {settings.max_sequences} sequences does not fit "
            "into the memory that the weights leave. Lower --prefill-tokens or --max-sequences, or use --quantization."
        ) from error
    graphs = graph_bytes(loaded, runner, memory, settings.max_sequences) if settings.record_decoding else 0
    return StepCosts(steps, graphs, settings.media_cache_bytes if loaded.media is not None else 0)


def largest_steps(settings: EngineSettings, pool: PagePool, longest: int) -> list[list[Row[CachedTokens]]]:
    """Returns two steps: one reads and decodes as much as a step may, one scores the tokens that it reads.

    Every row is the end of a sequence of `longest` tokens, all in the same page: their values do not matter.
    """
    pages: list[int] = []
    pool.grow(pages, 1)
    tokens, own = [0] * longest, pages * pool.pages_for(longest)
    pool.release(pages)

    def ending(count: int, scored: int = 0) -> Row[CachedTokens]:
        return Row(CachedTokens(tokens, own, longest - count), count, scored=scored)

    def reading(budget: int) -> list[int]:
        whole, rest = divmod(budget, longest)
        return [longest] * min(whole, settings.max_sequences) + ([rest] if rest else [])

    decoding = [ending(1) for _ in range(settings.max_sequences)]
    scored = max(settings.prefill_tokens // SCORED_TOKEN_COST, 1)
    return [
        [*decoding, *(ending(count) for count in reading(settings.prefill_tokens))],
        [*decoding, *(ending(count, scored=count - 1) for count in reading(scored))],
    ]


@torch.inference_mode()
def _run(runner: ModelRunner, rows: list[Row[CachedTokens]]) -> None:
    """Runs a step and samples from its logits by the parameters that take the most memory.

    Samples besides as the GPU does it: with the most proposed tokens of a step, and with changed logits in all rows.
    """
    logits = runner.run(rows)
    _copy = logits.clone()  # kept where likelihoods are asked for
    ends = logits[-len(rows) :]
    weights = truncate(scaled(ends, torch.ones(len(ends), device=ends.device)), [_DEMANDING] * len(ends)).exp()
    invert(weights, torch.full((len(ends),), 0.5, dtype=torch.float64, device=ends.device))
    del weights
    _choose(ends[-1:].expand(MOST_PROPOSING, -1))
    change_all(ends[:MOST_DECODING])


def change_all(logits: Tensor) -> None:
    """Allocates as much as LogitChanges ever take for rows of float32 `logits` `[rows, vocabulary]`."""
    # They are laid anew while those before are still there: how often each token was used, which are not allowed.
    _laid = [(torch.empty_like(logits), torch.empty_like(logits, dtype=torch.bool)) for _ in range(2)]
    _changed, typical = logits.clone(), logits.clone()
    _choose(typical, torch.full((len(logits), 1), _DEMANDING.typical_p, dtype=torch.float64, device=logits.device))


def _choose(logits: Tensor, typical: Tensor | None = None) -> None:
    numbers = torch.tensor([1.0, 0.5, float("inf"), 0.5, 0.0, 1.0], dtype=torch.float64, device=logits.device)
    likeliest = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    choose(logits, likeliest, numbers.view(NUMBERS, 1).expand(-1, len(logits)), typical)
