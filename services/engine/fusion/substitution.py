"""Puts faster modules in the place of a model's own, and back."""

import logging
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

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

log = logging.getLogger(__name__)

T = TypeVar("T")


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


@dataclass(frozen=True)
class _Place:
    """Where a module of a model was replaced."""

    parent: nn.Module
    child: str
    own: nn.Module
    """The model's own."""
    substitute: Substitute

    def put(self, module: Any) -> None:
        """Has the model call one of both from now on."""
        self.parent._modules[self.child] = module


class Substitutions:
    """What was replaced in one model, and the way back."""

    def __init__(self, model: nn.Module, agreed: Agreed = bool) -> None:
        """Takes a model that no other rank has a part of, unless it is told how they agree."""
        self._model = model
        self.agreed = agreed
        self._replaced: dict[str, _Place] = {}
        self.left_out: set[str] = set()
        """Kinds of substitutes of which one failed or computed something else."""

    def __len__(self) -> int:
        return len(self._replaced)

    @property
    def names(self) -> Collection[str]:
        """Names of the modules replaced."""
        return self._replaced.keys()

    def put(self, name: str, substitute: Substitute) -> None:
        """Replaces the module of that name."""
        parent, _, child = name.rpartition(".")
        place = _Place(self._model.get_submodule(parent), child, self._model.get_submodule(name), substitute)
        self._replaced[name] = place
        place.put(substitute)

    @contextmanager
    def set_aside(self, names: Collection[str]) -> Generator[None]:
        """Has the model's own modules compute meanwhile, where one of these names was replaced.

        Linear layers among them compute by the weights that substitutes have taken over.
        """
        places = [place for name, place in self._replaced.items() if name in names]
        for place in places:
            place.put(place.own)
        try:
            yield
        finally:
            for place in places:
                place.put(place.substitute)

    def attempt(self, kind: str, module: nn.Module, work: Callable[[], T]) -> T | None:
        """Returns what `work` returns for a substitute of this kind; None where it fails, so that others are kept."""
        try:
            return work()
        except Exception as error:  # a compiler raises anything
            self.leave_out(kind, module, f"{type(error).__name__}: {error}")
            return None

    def equal(self, kind: str, module: nn.Module, substitute: Substitute, seen: Observation) -> bool:
        """Returns whether a substitute of this kind computes what `module` did."""
        same = self.attempt(kind, module, partial(seen.matches, substitute, residual=is_decoder_layer(module)))
        if same is False:
            self.leave_out(kind, module, "its results differ from the module's own")
        return bool(same)

    def leave_out(self, kind: str, module: nn.Module, reason: str) -> None:
        """Tells why a kind is left out, for the first module of each: others of a model mostly fail alike."""
        if kind not in self.left_out:
            self.left_out.add(kind)
            log.warning("%s is left out for %s, and perhaps for more: %s", kind, type(module).__name__, reason)

    def undo(self) -> None:
        """Puts all the model's own modules back."""
        self._put_back(list(self._replaced))

    def undo_read(self) -> bool:
        """Puts those back whose weights the model has read, and others of the same name in other layers.

        Returns whether there were any.
        """
        kinds = {place.child for place in self._replaced.values() if getattr(place.substitute, "weight_read", False)}
        names = [name for name in self._replaced if name.rpartition(".")[2] in kinds]
        self._put_back(names)
        return bool(names)

    def _put_back(self, names: list[str]) -> None:
        for name in names:
            place = self._replaced.pop(name)
            place.substitute.give_back()
            place.put(place.own)

    def counts(self) -> str:
        """Returns how many there are of each kind, in words for a log."""
        kinds = [type(place.substitute).__name__ for place in self._replaced.values()]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "nothing"


Maker = Callable[[nn.Module, Observation], Substitute | None]
"""Returns what may stand in for a module that was called like that, or None where there is nothing."""

Makers = Mapping[str, Maker]
"""By the kind of what they make."""


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
    makers: Makers = {
        "FusedDecoderLayer": lambda module, seen: fused_decoder_layer(module, seen, backend, library, arena, workspace),
        "FusedNorm": lambda module, _: fused_norm(module, library),
        "FusedMlp": lambda module, _: fused_mlp(module, library, arena),
        "FusedAttention": lambda module, seen: fused_attention(module, seen, backend, library, arena),
        "FusedExperts": lambda module, seen: fused_experts(module, seen, library, arena),
    }
    substitute(substitutions, model, makers, run)
    for module in model.modules():
        if isinstance(module, FusedDecoderLayer):  # only now, as it was compared with one that computes all
            module.last = module.native.index == model.config.get_text_config().num_hidden_layers - 1


def substitute(substitutions: Substitutions, model: PreTrainedModel, makers: Makers, run: Callable[[], object]) -> None:
    """Replaces modules by what the first of `makers` makes of them, where that computes the same as they do.

    What they compute is seen while `run` runs. What fails stays the model's own and keeps nothing else from being
    replaced. What one rank has no substitute for, or a wrong one, stays on all of them.
    """
    named = {name: module for name, module in model.named_modules() if any(known(module) for known in _KNOWN)}
    observed, agreed = observe(named.values(), run), substitutions.agreed
    farthest = (getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1) - 1
    for name, module in named.items():
        inside = any(name.startswith(f"{outer}.") for outer in substitutions.names)
        if inside or (seen := observed.get(module)) is None:
            continue
        works = ((kind, partial(_made, make, module, seen, farthest)) for kind, make in makers.items())
        made = ((kind, substitutions.attempt(kind, module, work)) for kind, work in works)
        kind, fused = next((one for one in made if one[1] is not None), ("", None))
        if agreed(fused is not None) and fused is not None and agreed(substitutions.equal(kind, module, fused, seen)):
            substitutions.put(name, fused)
        elif fused is not None:
            fused.give_back()
            substitutions.leave_out(kind, module, "another rank has none")  # unless its own fault was told above


def _made(make: Maker, module: nn.Module, seen: Observation, farthest: int) -> Substitute | None:
    """Returns what `make` makes of a module; None if that computes something else at places up to `farthest`."""
    fused, depends = make(module, seen), True
    if fused is None:
        return None
    try:
        depends = seen.depends_on_places(module, farthest)
    finally:
        if depends:
            fused.give_back()
    return None if depends else fused
