"""Puts faster modules in the place of a model's own, and back."""

from collections.abc import Callable, Collection
from typing import Protocol

from torch import nn
from transformers import PreTrainedModel

from services.engine.fusion.attention import fused_attention, is_attention
from services.engine.fusion.decoder import Workspace, fused_decoder_layer, is_decoder_layer
from services.engine.fusion.mlp import fused_mlp, is_gated_mlp
from services.engine.fusion.norm import fused_norm, is_norm
from services.engine.fusion.survey import observe
from services.engine.generation.attention.cpu import CpuAttention
from services.engine.native.arena import Arena
from services.engine.native.library import Library


class Substitute(Protocol):
    """A module that stands in for another and has taken over its weights."""

    def give_back(self) -> None:
        """Returns the weights, so that the other can be used again."""
        ...


class Substitutions:
    """What was replaced in one model, and the way back."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._replaced: dict[str, tuple[nn.Module, Substitute]] = {}

    def __len__(self) -> int:
        return len(self._replaced)

    @property
    def names(self) -> Collection[str]:
        """Names of the modules replaced."""
        return self._replaced.keys()

    def put(self, name: str, substitute: Substitute) -> None:
        """Replaces the module of that name."""
        self._replaced[name] = self._model.get_submodule(name), substitute
        _set(self._model, name, substitute)  # type: ignore[arg-type]

    def undo(self) -> None:
        """Puts all the model's own modules back."""
        for name, (original, substitute) in self._replaced.items():
            substitute.give_back()
            _set(self._model, name, original)
        self._replaced.clear()

    def counts(self) -> str:
        """Returns how many there are of each kind, in words for a log."""
        kinds = [type(substitute).__name__ for _, substitute in self._replaced.values()]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "nothing"


def fuse(
    substitutions: Substitutions,
    model: PreTrainedModel,
    backend: CpuAttention,
    library: Library,
    arena: Arena,
    run: Callable[[], object],
) -> None:
    """Replaces what is known and computes the same while `run` runs: layers, or their norms, attention and the like."""
    named = {
        name: module
        for name, module in model.named_modules()
        if any(known(module) for known in (is_norm, is_gated_mlp, is_attention, is_decoder_layer))
    }
    observed, workspace = observe(named.values(), run), Workspace(model.dtype)
    for name, module in named.items():
        inside = any(name.startswith(f"{outer}.") for outer in substitutions.names)
        if inside or (seen := observed.get(module)) is None:
            continue
        fused = (
            fused_decoder_layer(module, seen, backend, library, arena, workspace)
            or fused_norm(module, library)
            or fused_mlp(module, library, arena)
            or fused_attention(module, seen, backend, library, arena)
        )
        if fused is not None and seen.matches(fused, residual=is_decoder_layer(module)):
            substitutions.put(name, fused)
        elif fused is not None:
            fused.give_back()


def _set(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
