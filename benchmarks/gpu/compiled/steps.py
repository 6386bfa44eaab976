"""Steps of models that hold no numbers: their kernels are launched as on a GPU, by the engine's own modules."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from services.engine.generation.recorded.decode_inputs import DecodeInputs
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from benchmarks.gpu.compiled.compiling import PROCESSORS
from services.engine.fusion import attention as fused_attention
from services.engine.fusion.substitution import Substitutions
from services.engine.fusion.survey import Observation
from services.engine.fusion.triton import norm, substitution
from services.engine.fusion.triton.likeliest import LikeliestTokens, fill_in
from services.engine.fusion.triton.rotary import GpuRotary
from services.engine.fusion.triton.substitution import fuse_on_gpu, replace_narrow
from services.engine.generation.attention.backend import AttentionCall, register
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.attention.triton.plan import QueryBlocks, TritonPlan, most_queries, part_tokens
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel
from services.engine.narrow.model import narrow_weights
from services.engine.narrow.numbers import NarrowKind

NOWHERE = torch.device("meta")
_LONGEST = 8192


class Steps:
    """A model with its layers by kernels, and the steps that are run with it."""

    def __init__(self, config: PretrainedConfig, weights: NarrowKind | None, narrow_cache: bool) -> None:
        """Takes no memory. `weights` are their 8 bits, if they have so few."""
        register()
        with NOWHERE:
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        nothing: Any = None
        loaded = LoadedModel(
            model, nothing, ModelDefaults(), NOWHERE, "", _LONGEST, model.config.vocab_size, model.num_parameters()
        )
        if weights is not None:
            narrow_weights(model, weights, NOWHERE)
        layouts = {index: replace(layout, narrow=narrow_cache) for index, layout in probe_layouts(loaded).items()}
        self._model, self._cache = model, KVCache(layouts, 1 << 14, PAGE_SIZE, NOWHERE, by_token=True)
        self._backend = TritonAttention(NOWHERE)
        self._backend.processors = PROCESSORS
        self._runner = ModelRunner(model, self._backend, self._cache, NOWHERE)
        substitutions = Substitutions(model)
        with _taken_for_granted():
            fuse_on_gpu(substitutions, model, self._backend, partial(self.read, 1, 8), _LONGEST)
        replace_narrow(substitutions, model)

    def read(self, rows: int, tokens: int) -> None:
        """Reads prompts."""
        pages = list(range(-(-tokens // PAGE_SIZE)))
        self._runner.run([Row(CachedTokens([0] * tokens, pages), tokens) for _ in range(rows)])

    @torch.inference_mode()
    def decode(self, rows: int, *, wide: bool = False) -> None:
        """Runs a step as it is recorded; if `wide`, one whose rows may have proposed tokens."""
        split = partial(part_tokens, cache=self._cache, processors=PROCESSORS)
        inputs = DecodeInputs(rows, -(-_LONGEST // PAGE_SIZE), PAGE_SIZE, NOWHERE, split)
        given, sources, positions, slots, table, pages = inputs.parts(rows)
        before, tokens = torch.empty(2, rows, dtype=torch.int64, device=NOWHERE)
        fill_in(given, sources, before, tokens)
        blocks = QueryBlocks(table, most_queries(self._cache) if wide else 1, _LONGEST)
        plan = TritonPlan(self._cache, slots, pages, blocks, None, stored_first=wide)
        logits = self._model(
            input_ids=tokens.unsqueeze(0), position_ids=positions.unsqueeze(0), logits_to_keep=0, use_cache=False,
            attention_call=AttentionCall(self._backend, plan),
        ).logits[0]  # fmt: skip
        LikeliestTokens(rows, logits.shape[-1], NOWHERE).find(logits, before)


@contextmanager
def _taken_for_granted() -> Generator[None]:
    """Lets modules be made where there are no numbers to compare: each is taken to compute what its name says."""
    with (
        patch.object(Observation, "matches", lambda *_, **__: True),
        patch.object(norm, "scales_of", _scales),
        patch.object(fused_attention, "scales_of", _scales),
        patch.object(substitution, "gpu_rotary", _rotary),
    ):
        yield


def _scales(module: Any) -> tuple[Tensor, float]:
    return module.weight.float(), 1e-6


def _rotary(module: nn.Module, seen: Observation, length: int) -> GpuRotary:
    cosine: Tensor = seen.output[0]
    table = cosine.new_empty(length, cosine.shape[-1])
    return GpuRotary(module, (table, table.clone()))
