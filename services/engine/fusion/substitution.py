"""Replaces modules of a model with faster ones that compute the same, and undoes that."""

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
    """A module that replaces another one. It may hold the weights of the other, which then has none itself."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Computes the same as the module that it replaces."""
        ...

    def give_back(self) -> None:
        """Returns the weights to the replaced module, so that it can be used again."""
        ...


Agreed = Callable[[bool], bool]
"""Returns true if the argument is true on every rank of a tensor parallel model. All ranks have to ask in the same
order.
"""


@dataclass(frozen=True)
class _Place:
    """One replaced module: where it was in the model, and its substitute."""

    parent: nn.Module
    child: str
    own: nn.Module
    """The model's own module."""
    substitute: Substitute

    def put(self, module: Any) -> None:
        """Makes the model call this module, which is either `own` or `substitute`."""
        self.parent._modules[self.child] = module


class Substitutions:
    """The modules that were replaced in one model."""

    def __init__(self, model: nn.Module, agreed: Agreed = bool) -> None:
        """`agreed` is needed only if other ranks hold parts of the model."""
        self._model = model
        self.agreed = agreed
        self._replaced: dict[str, _Place] = {}
        self.left_out: set[str] = set()
        """Kinds of substitutes of which at least one failed or gave other results."""

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
        """Within the context, the model uses its own modules again in the places of these names.

        Linear layers among them then compute with the weights that their substitutes have taken over.
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
        """Returns the result of `work`, or None if it raises: then this kind is left out, and other kinds are still
        tried.
        """
        try:
            return work()
        except Exception as error:  # a compiler raises anything
            self.leave_out(kind, module, f"{type(error).__name__}: {error}")
            return None

    def equal(self, kind: str, module: nn.Module, substitute: Substitute, seen: Observation) -> bool:
        """Returns whether a substitute of this kind gives the result that was observed of `module`, within rounding."""
        same = self.attempt(kind, module, partial(seen.matches, substitute, residual=is_decoder_layer(module)))
        if same is False:
            self.leave_out(kind, module, "its results differ from the module's own")
        return bool(same)

    def leave_out(self, kind: str, module: nn.Module, reason: str) -> None:
        """Marks a kind as left out and logs why, once per kind: a fault of one layer is mostly a fault of all."""
        if kind not in self.left_out:
            self.left_out.add(kind)
            log.warning("%s is left out for %s, and maybe for other modules: %s", kind, type(module).__name__, reason)

    def undo(self) -> None:
        """Puts all of the model's own modules back."""
        self._put_back(list(self._replaced))

    def undo_read(self) -> bool:
        """Puts back the own modules in all places where the model has read the weight of a substitute.

        The same child of every other layer is put back too. Returns whether any was.
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
        """Returns the number of substitutes of each kind, as text for a log."""
        kinds = [type(place.substitute).__name__ for place in self._replaced.values()]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "nothing"


Maker = Callable[[nn.Module, Observation], Substitute | None]
"""Builds a substitute for a module from one observed call; returns None if it has none for this module."""

Makers = Mapping[str, Maker]
"""Makers by the kind of substitute that they build."""


_KNOWN = (is_norm, is_gated_mlp, is_attention, is_decoder_layer, is_experts, is_narrow_experts, is_router)


def fuse(
    substitutions: Substitutions,
    model: PreTrainedModel,
    backend: CpuAttention,
    library: Library,
    arena: Arena,
    run: Callable[[], object],
) -> None:
    """Replaces modules with fused ones of the native library: whole decoder layers where possible, else their parts.

    `run` runs the model once, on which the results are compared.
    """
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
        if isinstance(module, FusedDecoderLayer):  # not earlier: the comparison needs the output of all tokens
            module.last = module.native.index == model.config.get_text_config().num_hidden_layers - 1


def substitute(substitutions: Substitutions, model: PreTrainedModel, makers: Makers, run: Callable[[], object]) -> None:
    """Replaces each module with the substitute of the first maker that has one, if that gives the same results.

    `run` runs the model once, so that the calls of its modules can be observed. If a substitute cannot be built or
    gives other results, the model keeps its own module there, and other modules are still tried. If that happens on one
    rank, all ranks keep their own module.
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
            # This logs nothing if the kind was left out above for a fault on this rank.
            substitutions.leave_out(kind, module, "another rank has none")


def _made(make: Maker, module: nn.Module, seen: Observation, farthest: int) -> Substitute | None:
    """Returns the substitute that `make` builds, or None if it has none or if the module's result depends on positions
    up to `farthest` by more than their angles.
    """
    fused, depends = make(module, seen), True
    if fused is None:
        return None
    try:
        depends = seen.depends_on_places(module, farthest)
    finally:
        if depends:
            fused.give_back()
    return None if depends else fused
