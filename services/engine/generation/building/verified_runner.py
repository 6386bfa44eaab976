"""Makes a runner with the fastest modules and attention whose results equal the model's own."""

import logging
from collections.abc import Callable
from functools import partial

import torch

from services.engine.acceleration.replacement import accelerated
from services.engine.fusion import adapted_layers
from services.engine.fusion.substitution import Agreed, Substitutions, fuse
from services.engine.generation.attention.backend import AttentionBackend
from services.engine.generation.attention.cpu import CpuAttention
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.adapter_check import AdapterCheck, verify_adapters
from services.engine.generation.building.parts import choose_backend
from services.engine.generation.building.verification import (
    NARROW_ERROR,
    Expected,
    check_prompts,
    engine_logits,
    tolerance,
    verify,
)
from services.engine.generation.building.whole_forward import run_whole
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.multimodal.check import MediaCheck
from services.engine.native.arena import Arena
from services.engine.native.library import Library

log = logging.getLogger(__name__)


def verified_runner(loaded: LoadedModel, cache: KVCache, pool: PagePool) -> ModelRunner:
    """Returns a runner with the fastest attention whose results equal the model's own.

    Raises:
        NotPaged: the results differ with plain attention too.
    """
    backend = choose_backend(loaded, cache)
    runner = ModelRunner(loaded.model, backend, cache, loaded.device, loaded.adapters)
    try:
        accelerate_and_verify(loaded, runner, backend, pool)
    except Exception as error:  # a compiler raises anything
        if loaded.device.type == "cpu" or isinstance(backend, ReferenceAttention):
            raise
        log.warning("Attention is computed without kernels, since with them it failed its check: %s", error)
        backend = ReferenceAttention()
        runner = ModelRunner(loaded.model, backend, cache, loaded.device, loaded.adapters)
        accelerate_and_verify(loaded, runner, backend, pool)
    return runner


def accelerate_and_verify(
    loaded: LoadedModel,
    runner: ModelRunner,
    backend: AttentionBackend,
    pool: PagePool,
    agreed: Agreed = bool,
    prepare: Callable[[], None] = lambda: None,
) -> None:
    """Replaces the model's modules by faster ones and compares the engine with the model itself.

    Ranks agree on what is replaced. `prepare` is called as soon as the model's own results are known.

    Raises:
        NotPaged: their results differ, with the model's own modules too.
    """
    prompts = check_prompts(loaded, pool)
    expected, media, adapters = Expected.of(loaded, prompts), MediaCheck.of(loaded), AdapterCheck.of(loaded, prompts)
    narrow = any(layout.narrow for layout in runner.cache.layouts.values())
    allowed = runner.allowed_error = max(expected.allowed, NARROW_ERROR) if narrow else expected.allowed
    prepare()

    def fuse_layers(substitutions: Substitutions, library: Library | None, arena: Arena) -> None:
        if loaded.adapters is not None:
            loaded.adapters.joined = loaded.adapters.grouped = False
            loaded.adapters.set_aside = substitutions.set_aside
        run = partial(engine_logits, runner, pool, check_prompts(loaded, pool))
        if isinstance(backend, CpuAttention) and library is not None:
            fuse(substitutions, loaded.model, backend, library, arena, run)
        elif not isinstance(backend, (CpuAttention, ReferenceAttention)):
            fuse_by_kernels(substitutions, loaded, backend, run)
        if loaded.adapters is not None and library is not None:
            adapted_layers.prepare(loaded.adapters, loaded.model, library)

    def check() -> None:
        verify(loaded, runner, pool, expected, allowed)
        if media is not None:
            media.verify(runner, pool, allowed if narrow else tolerance(loaded))
        verify_adapters(loaded, adapters, runner, pool, allowed)

    accelerated(loaded, check, fuse_layers, agreed)
    run_whole(loaded, runner, pool)


def fuse_by_kernels(
    substitutions: Substitutions, loaded: LoadedModel, backend: AttentionBackend, run: Callable[[], object]
) -> None:
    """Replaces modules of a model on a GPU by kernels: none if `run` fails, else all that compute the same."""
    # Here, as Triton is not made for every system.
    from services.engine.fusion.triton.joining import join
    from services.engine.fusion.triton.substitution import fuse_on_gpu
    from services.engine.generation.attention.triton.backend import TritonAttention

    assert isinstance(backend, TritonAttention)
    try:
        fuse_on_gpu(substitutions, loaded.model, backend, run, loaded.context_tokens)
    except Exception as error:  # a compiler raises anything
        log.warning("Layers are computed by the model's own modules, since kernels failed: %s", error)
        substitutions.undo()
    if loaded.adapters is not None:
        join(loaded.adapters, loaded.model)
    torch.cuda.empty_cache()  # of weights that became parts of others
