"""Finds the parts of a decoder whose layers are fused: embeddings, rotary angles, last norm and head."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from services.engine.fusion.angles import Angles, AngleTable
from services.engine.fusion.decoder import FusedDecoderLayer
from services.engine.fusion.norm import FusedNorm
from services.engine.fusion.whole_decoder import DecoderParts
from services.engine.native.linear import NativeLinear


def decoder_parts(model: PreTrainedModel, run: Callable[[], object]) -> DecoderParts | None:
    """Returns the parts of a decoder-only model, or None if a layer is not fused or a part is of another kind.

    The caller has to check that the model does nothing besides. `run` runs the model once.
    """
    names = {name: module for name, module in model.named_modules() if isinstance(module, FusedDecoderLayer)}
    layers = sorted(names.values(), key=lambda layer: layer.native.index)
    if [layer.native.index for layer in layers] != [*range(len(layers))] or not layers or not layers[-1].last:
        return None
    stack = model.get_submodule(next(iter(names)).rpartition(".")[0].rpartition(".")[0])
    norms = [module for module in stack.children() if isinstance(module, FusedNorm)]
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    angles = _angles(model, layers, run)
    if (
        type(embeddings) is not nn.Embedding
        or not isinstance(head, NativeLinear)
        or len(norms) != 1
        or angles is None
        or embeddings.weight.dtype != head.dtype
        or not embeddings.weight.is_contiguous()
        or not embeddings.embedding_dim == norms[0].width == head.in_features == layers[0].linears[-1].out_features
    ):
        return None
    return DecoderParts(embeddings, layers, angles, norms[0], head)


@torch.inference_mode()
def _angles(model: nn.Module, layers: list[FusedDecoderLayer], run: Callable[[], object]) -> AngleTable | None:
    """Returns the rotary angles by position, or None if layers use different ones or no module computes them from
    positions.
    """
    made: dict[int, tuple[nn.Module, tuple[Any, ...], dict[str, Any], Any]] = {}
    used: list[Any] = []

    def note(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if isinstance(output, tuple) and len(output) == 2:
            made[id(output[0])] = module, arguments, named, output  # keeping the output keeps its id unique

    def note_use(_module: nn.Module, _arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        used.append(named.get("position_embeddings"))

    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in model.modules()]
    hooks += [layer.register_forward_pre_hook(note_use, with_kwargs=True) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    last = used[-len(layers) :]
    if not all(isinstance(angles, tuple) and angles[0] is last[0][0] for angles in last) or id(last[0][0]) not in made:
        return None
    module, arguments, named, _ = made[id(last[0][0])]

    def compute(positions: Tensor) -> Angles:
        def with_positions(value: Any) -> Any:
            taken = isinstance(value, Tensor) and not value.is_floating_point()
            return positions.expand(*value.shape[:-1], -1) if taken else value

        return module(*map(with_positions, arguments), **{name: with_positions(one) for name, one in named.items()})

    table = AngleTable(compute, layers[0].linears[0].dtype)
    return table if all(layer.rotated == table.rotated for layer in layers) else None
