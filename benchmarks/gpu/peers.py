"""Runs transformers on the same model and prompts: `generate`, and its continuous batching."""

import logging
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig

from benchmarks.gpu.runner import Rates, now
from benchmarks.gpu.steady import steady
from services.engine.loading import LoadedModel

log = logging.getLogger(__name__)

_PAGE, _CHUNK = 256, 2048


@torch.inference_mode()
def run_generate(loaded: LoadedModel, prompts: list[list[int]], steps: int) -> Rates | None:
    """Times `generate` on one batch with torch's fused attention; None if its cache does not fit into memory."""
    model: Any = loaded.model
    model.set_attn_implementation("sdpa")
    ids = torch.tensor(prompts, device=loaded.device)
    options = {"attention_mask": torch.ones_like(ids), "do_sample": False}
    times: list[float] = []
    try:
        model.generate(ids[:, :64], attention_mask=torch.ones_like(ids[:, :64]), max_new_tokens=2)
        for count in (1, steps + 1):
            began = now()
            model.generate(ids, max_new_tokens=count, min_new_tokens=count, **options)
            times.append(now() - began)
    except torch.OutOfMemoryError:
        return None
    finally:
        torch.cuda.empty_cache()
    return Rates(times[0], (times[1] - times[0]) / steps)


def run_continuous(loaded: LoadedModel, prompts: list[list[int]], steps: int) -> float:
    """Returns the tokens per second of transformers' continuous batching while all rows decode; 0 if it fails."""
    model: Any = loaded.model
    model.set_attn_implementation("paged|sdpa")
    settings = GenerationConfig(do_sample=False, max_new_tokens=steps, eos_token_id=-1, pad_token_id=0)
    pages = -(-(len(prompts[0]) + steps) // _PAGE) + 1
    # Just enough for all rows: by default its cache takes most of the memory, and its masks grow with the cache.
    room = ContinuousBatchingConfig(
        block_size=_PAGE, num_blocks=len(prompts) * pages, max_batch_tokens=min(_CHUNK, len(prompts) * len(prompts[0]))
    )
    try:
        found = model.generate_batch(
            prompts, generation_config=settings, continuous_batching_config=room, record_timestamps=True
        )
        return steady([each.timestamps for each in found.values()]).tokens_per_second
    except Exception as error:  # the benchmark goes on without this peer
        log.warning("Continuous batching of transformers fails: %r", error)
        return 0.0
    finally:
        model.set_attn_implementation("sdpa")
        torch.cuda.empty_cache()
