"""Which modules of a model have a faster one on a GPU."""

from collections.abc import Callable

from torch import nn
from transformers import PreTrainedModel

from services.engine.fusion.substitution import Substitute, Substitutions, substitute
from services.engine.fusion.survey import Observation, observe
from services.engine.fusion.triton.attention import gpu_attention
from services.engine.fusion.triton.decoder import gpu_decoder_layer
from services.engine.fusion.triton.experts import GpuExperts, gpu_experts
from services.engine.fusion.triton.linear import GpuLinear, takes
from services.engine.fusion.triton.mlp import gpu_mlp
from services.engine.fusion.triton.narrow import GpuNarrowLinear
from services.engine.fusion.triton.norm import gpu_norm
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
    """Replaces what is known and computes the same while `run` runs: layers, or their parts, and the last product.

    No sequence is longer than `longest` tokens.
    """

    def made(module: nn.Module, seen: Observation) -> Substitute | None:
        return (
            gpu_decoder_layer(module, seen, backend)
            or gpu_norm(module)
            or gpu_mlp(module)
            or gpu_attention(module, seen, backend)
            or gpu_experts(module, seen)
            or gpu_router(module, seen)
        )

    substitute(substitutions, model, made, run)
    rotary = {name: module for name, module in model.named_modules() if is_rotary(module)}
    for module, seen in observe(rotary.values(), run).items():
        if (table := gpu_rotary(module, seen, longest)) is not None:
            substitutions.put(next(name for name, one in rotary.items() if one is module), table)
    head = model.get_output_embeddings()
    if type(head) is nn.Linear and takes(head):
        name = next(name for name, module in model.named_modules() if module is head)
        substitutions.put(name, GpuLinear([head]))


def replace_narrow(substitutions: Substitutions, model: nn.Module) -> None:
    """Replaces the narrow layers and experts that are part of nothing larger that was replaced."""
    for name, module in list(model.named_modules()):
        if any(name.startswith(f"{outer}.") for outer in substitutions.names):
            continue
        if isinstance(module, NarrowLinear):
            substitutions.put(name, GpuNarrowLinear([module]))
        elif isinstance(module, NarrowExperts):
            substitutions.put(name, GpuExperts(module))
