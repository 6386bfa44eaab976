"""Chooses which modules of a model are replaced by faster ones on a GPU."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from services.engine.fusion.substitution import Makers, Substitutions, substitute
from services.engine.fusion.survey import Observation, observe
from services.engine.fusion.triton.attention import gpu_attention
from services.engine.fusion.triton.decoder import gpu_decoder_layer, link_layers
from services.engine.fusion.triton.experts import GpuExperts, gpu_experts
from services.engine.fusion.triton.linear import GpuLinear, takes
from services.engine.fusion.triton.mlp import gpu_mlp
from services.engine.fusion.triton.narrow import GpuNarrowLinear
from services.engine.fusion.triton.norm import gpu_norm
from services.engine.fusion.triton.race import race
from services.engine.fusion.triton.rotary import gpu_rotary, is_rotary
from services.engine.fusion.triton.router import gpu_router
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.narrow.experts import NarrowExperts
from services.engine.narrow.linear import NarrowLinear


def fuse_on_gpu(
    substitutions: Substitutions,
    model: PreTrainedModel,
    backend: TritonAttention,
    run: Callable[[], object],
    longest: int,
) -> None:
    """Replaces decoder layers or their parts, rotary embeddings and the head by kernels that give the same results.

    `run` runs the model once, on which results are compared; no sequence is longer than `longest` tokens. If a kind of
    kernel fails, only that kind is left out. Then products of a few rows are timed, and use a kernel where it beats
    torch.
    """
    makers: Makers = {
        "GpuDecoderLayer": lambda module, seen: gpu_decoder_layer(module, seen, backend),
        "GpuNorm": lambda module, _: gpu_norm(module),
        "GpuMlp": lambda module, _: gpu_mlp(module),
        "GpuAttention": lambda module, seen: gpu_attention(module, seen, backend),
        "GpuExperts": gpu_experts,
        "GpuRouter": gpu_router,
    }
    substitute(substitutions, model, makers, run)
    for stack in (module for module in model.modules() if isinstance(module, nn.ModuleList)):
        link_layers(stack)
    rotary = {module: name for name, module in model.named_modules() if is_rotary(module)}
    for module, seen in observe(rotary, run).items():
        table = substitutions.attempt("GpuRotary", module, partial(gpu_rotary, module, seen, longest))
        if table is not None and substitutions.equal("GpuRotary", module, table, seen):
            substitutions.put(rotary[module], table)
    head = model.get_output_embeddings()
    if type(head) is nn.Linear and takes(head):
        name, product = next(name for name, module in model.named_modules() if module is head), GpuLinear([head])
        if substitutions.equal("GpuLinear", head, product, _one_row(head)):
            substitutions.put(name, product)
    if model.device.type == "cuda":
        race(model)


@torch.inference_mode()
def _one_row(linear: nn.Linear) -> Observation:
    """Returns a call with one row, which is what the kernel is for: products of several rows are torch's own."""
    row = torch.ones(1, linear.in_features, dtype=linear.weight.dtype, device=linear.weight.device)
    return Observation((row,), {}, linear(row))


def replace_narrow(substitutions: Substitutions, model: nn.Module) -> None:
    """Replaces 8-bit layers and experts that are not part of a larger module that was replaced.

    Experts keep torch's products if the kernels gave other results for any experts of this model.
    """
    for name, module in list(model.named_modules()):
        if any(name.startswith(f"{outer}.") for outer in substitutions.names):
            continue
        if isinstance(module, NarrowLinear):
            one = substitutions.attempt("GpuNarrowLinear", module, partial(GpuNarrowLinear, [module]))
        elif isinstance(module, NarrowExperts) and "GpuExperts" not in substitutions.left_out:
            one = substitutions.attempt("GpuExperts", module, partial(GpuExperts, module))
        else:
            continue
        if one is not None:
            substitutions.put(name, one)
