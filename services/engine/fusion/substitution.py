"""Puts faster modules in the place of a model's own, and back."""

from collections.abc import Callable, Collection
from typing import Any, Protocol

from torch import nn
from transformers import PreTrainedModel

from services.engine.experts import is_experts
from services.engine.fusion.attention import fused_attention, is_attention
from services.engine.fusion.decoder import FusedDecoderLayer, Workspace, fused_decoder_layer, is_decoder_layer
from services.engine.fusion.experts import fused_experts
from services.engine.fusion.mlp import fused_mlp, is_gated_mlp
from services.engine.fusion.norm import fused_norm, is_norm
from services.engine.fusion.router import is_router
from services.engine.fusion.survey import Observation, observe
from services.engine.generation.attention.cpu import CpuAttention
from services.engine.narrow.experts import is_narrow_experts
from services.engine.native.arena import Arena
from services.engine.native.library import Library


class Substitute(Protocol):
    """A module that stands in for another and may have taken over its weights."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Computes what the other computes."""
        ...

    def give_back(self) -> None:
        """Returns the weights, so that the other can be used again."""
        ...


Agreed = Callable[[bool], bool]
"""Returns whether what holds here holds on all ranks that run the model together; all ask in the same order."""


class Substitutions:
    """What was replaced in one model, and the way back."""

    def __init__(self, model: nn.Module, agreed: Agreed = bool) -> None:
        """Takes a model that no other rank has a part of, unless it is told how they agree."""
        self._model = model
        self.agreed = agreed
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
        self._put_back(list(self._replaced))

    def undo_read(self) -> bool:
        """Puts those back whose weights the model has read, and others of the same name in other layers.

        Returns whether there were any.
        """
        kinds = {
            name.rpartition(".")[2] for name, (_, own) in self._replaced.items() if getattr(own, "weight_read", False)
        }
        names = [name for name in self._replaced if name.rpartition(".")[2] in kinds]
        self._put_back(names)
        return bool(names)

    def _put_back(self, names: list[str]) -> None:
        for name in names:
            original, substitute = self._replaced.pop(name)
            substitute.give_back()
            _set(self._model, name, original)

    def counts(self) -> str:
        """Returns how many there are of each kind, in words for a log."""
        kinds = [type(substitute).__name__ for _, substitute in self._replaced.values()]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "nothing"


Maker = Callable[[nn.Module, Observation], Substitute | None]
"""Returns what may stand in for a module that was called like that, or None where there is nothing."""


_KNOWN = (is_norm, is_gated_mlp, is_attention, is_decoder_layer, is_experts, is_narrow_experts, is_router)


def fuse(
    substitutions: Substitutions,
    model: PreTrainedModel,
    backend: CpuAttention,
    library: Library,
    arena: Arena,
    run: Callable[[], object],
) -> None:
    """Replaces what the library knows and computes the same while `run` runs: layers, or their norms and the like."""
    workspace = Workspace(model.dtype)

    def made(module: nn.Module, seen: Observation) -> Substitute | None:
        return (
            fused_decoder_layer(module, seen, backend, library, arena, workspace)
            or fused_norm(module, library)
            or fused_mlp(module, library, arena)
            or fused_attention(module, seen, backend, library, arena)
            or fused_experts(module, seen, library, arena)
        )

    substitute(substitutions, model, made, run)
    for module in model.modules():
        if isinstance(module, FusedDecoderLayer):  # only now, as it was compared with one that computes all
            module.last = module.native.index == model.config.get_text_config().num_hidden_layers - 1


def substitute(substitutions: Substitutions, model: PreTrainedModel, make: Maker, run: Callable[[], object]) -> None:
    """Replaces modules by what `make` makes of them, where that computes the same as they do while `run` runs.

    What one rank has no substitute for, or a wrong one, stays on all of them.
    """
    named = {name: module for name, module in model.named_modules() if any(known(module) for known in _KNOWN)}
    observed = observe(named.values(), run)
    for name, module in named.items():
        inside = any(name.startswith(f"{outer}.") for outer in substitutions.names)
        if inside or (seen := observed.get(module)) is None:
            continue
        fused, agreed, adds = make(module, seen), substitutions.agreed, is_decoder_layer(module)
        if agreed(fused is not None) and fused is not None and agreed(seen.matches(fused, residual=adds)):
            substitutions.put(name, fused)
        elif fused is not None:
            fused.give_back()


def _set(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
