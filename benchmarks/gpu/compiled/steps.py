"""Runs steps of models on the meta device: the engine's own modules launch their kernels as on a GPU."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from benchmarks.gpu.adapters import adapters_beside
from benchmarks.gpu.compiled.compiling import PROCESSORS
from services.engine.fusion import attention as fused_attention
from services.engine.fusion.router import Rule
from services.engine.fusion.substitution import Substitutions
from services.engine.fusion.survey import Observation
from services.engine.fusion.triton import mlp, norm, router, substitution
from services.engine.fusion.triton.decoder import GpuDecoderLayer
from services.engine.fusion.triton.few_rows import FewRows, size_for, wide_tiles_for
from services.engine.fusion.triton.joining import join
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.mlp import GpuMlp
from services.engine.fusion.triton.race import RACED
from services.engine.fusion.triton.rotary import GpuRotary
from services.engine.fusion.triton.substitution import fuse_on_gpu, replace_narrow
from services.engine.fusion.triton.transfer import carry
from services.engine.generation.attention.backend import register
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.attention.triton.plan import most_queries, reading_queries
from services.engine.generation.attention.triton.tiles import raced_tiles
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.recorded.step_graphs import StepGraphs
from services.engine.generation.recorded.step_shape import Extent, Kind, shapes_of
from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel
from services.engine.narrow.model import narrow_weights
from services.engine.narrow.numbers import NarrowKind

NOWHERE = torch.device("meta")
_LONGEST = 8192
_ADAPTERS, _RANK = 4, 16
_TILES = len(wide_tiles_for(32, 1 << 11, 1 << 11, PROCESSORS))
"""Most alternative tiles of a product."""


class Steps:
    """A model whose layers use kernels, and its steps."""

    def __init__(self, config: PretrainedConfig, weights: NarrowKind | None, narrow_cache: bool) -> None:
        """Takes no memory. `weights` is the kind of 8-bit weights; None for bfloat16."""
        register()
        with NOWHERE:
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        nothing: Any = None
        loaded = LoadedModel(
            model, nothing, ModelDefaults(), NOWHERE, "", _LONGEST, model.config.vocab_size, model.num_parameters()
        )
        adapters = None
        if weights is not None:
            narrow_weights(model, weights, NOWHERE)
        else:  # adapters are not supported beside 8-bit weights
            adapters = adapters_beside(model, _ADAPTERS, _RANK)
        layouts = {index: replace(layout, narrow=narrow_cache) for index, layout in probe_layouts(loaded).items()}
        self._cache = KVCache(layouts, 1 << 14, PAGE_SIZE, NOWHERE, by_token=True)
        self._backend = backend = TritonAttention(NOWHERE)
        backend.processors = PROCESSORS
        self._runner = ModelRunner(model, backend, self._cache, NOWHERE)
        substitutions = Substitutions(model)
        with _taken_for_granted():
            fuse_on_gpu(substitutions, model, backend, self._read, _LONGEST)
        replace_narrow(substitutions, model)
        self._adapted = adapters is not None
        if adapters is not None:
            join(adapters, model)
            assert adapters.joined
        self._graphs = StepGraphs(model, backend, self._cache, NOWHERE, _LONGEST, adapters)
        # Without a GPU there is no race against torch's product, so the kernels are always used.
        self._products = [each for each in model.modules() if type(each) is GpuLinear]
        self._gated = [each for each in model.modules() if isinstance(each, GpuMlp) and type(each.pair) is GpuLinear]
        for each in self._products:
            each.few_rows = FewRows(each.weight, None, each.bias, dict.fromkeys(RACED))
        for each in self._gated:
            each.few_rows = FewRows(each.pair.weight, None, each.pair.bias, dict.fromkeys(RACED))
        self._layers = [each for each in model.modules() if isinstance(each, GpuDecoderLayer)]
        if len(self._layers) == 1:  # in real models another layer follows
            self._layers[0].precede(self._layers[0])

    @torch.inference_mode()
    def run(self, kind: Kind, size: int) -> None:
        """Runs the step that is recorded for `size` tokens, or for `size` rows that decode."""
        extent = Extent(proposing=True, reading=size)
        shapes = shapes_of(extent, size, most_queries(self._cache), reading_queries(self._cache))
        [*_, shape] = (shape for each in shapes for shape in each if shape.kind is kind and shape.size <= size)
        self._graphs.prepare([shape])
        numbers = torch.empty(1, dtype=torch.int64, device=NOWHERE)
        carry(numbers, numbers, size, size if kind is Kind.DECODING else 0)
        self._graphs.forward(shape)
        if kind is Kind.DECODING and self._graphs.beginning.can_merge:
            self._graphs.beginning.merge(size, True)
            self._graphs.forward(shape)
            self._graphs.beginning.merge(size, False)
        if self._adapted:
            self._graphs.forward(shape.twin)

    def run_raced(self, size: int, some: Callable[[list[Any]], list[Any]] = list) -> None:
        """Runs a step of `size` rows that decode, with each alternative that a race at load would try, or with `some`
        of them.
        """
        tiles = self._backend.tiles
        key_bytes = min(layout.key_width * layout.dtype.itemsize for layout in self._cache.layouts.values())
        for tile in some(raced_tiles(own := tiles.of(size), key_bytes)):
            tiles.choose(size, tile)
            self.run(Kind.DECODING, size)
        tiles.choose(size, own)
        for number in some(list(range(_TILES))) if size_for(size) in RACED else ():
            for each in (*self._products, *self._gated):
                linear = each if isinstance(each, GpuLinear) else each.pair
                units, width = linear.weight.shape
                choices = wide_tiles_for(size, units, width, PROCESSORS)
                chosen = {size_for(size): choices[min(number, len(choices) - 1)]}
                each.few_rows = FewRows(linear.weight, None, linear.bias, chosen)
            for left in (frozenset[int](), frozenset({size_for(size)})):
                for layer in self._layers:
                    layer.unsummed_tiles = left
                self.run(Kind.DECODING, size)

    def _read(self) -> None:
        self._runner.run([Row(CachedTokens([0] * 8, [0]), 8)])


@contextmanager
def _taken_for_granted() -> Generator[None]:
    """Skips all comparisons of results, since there are no numbers: modules are taken to compute what they should."""
    with (
        patch.object(Observation, "matches", lambda *_, **__: True),
        patch.object(Observation, "depends_on_places", lambda *_: False),
        patch.object(mlp, "gates_plainly", lambda _: True),
        patch.object(norm, "scales_of", _scales),
        patch.object(fused_attention, "scales_of", _scales),
        patch.object(substitution, "gpu_rotary", _rotary),
        patch.object(router, "rule_of", _rule),
        patch.object(Rule, "holds", lambda *_: True),
    ):
        yield


def _scales(module: Any) -> tuple[Tensor, float]:
    return module.weight.float(), 1e-6


def _rotary(module: nn.Module, seen: Observation, length: int) -> GpuRotary:
    cosine: Tensor = seen.output[0]
    table = cosine.new_empty(length, cosine.shape[-1])
    return GpuRotary(module, (table, table.clone()))


def _rule(module: Any, _: Observation) -> Rule:
    correction: Tensor | None = getattr(module, "e_score_correction_bias", None)
    return Rule(module.top_k, correction is not None, correction, 1, 1, normalized=True, scale=1.0, rounded=True)
