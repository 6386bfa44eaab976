"""Replaces a model's own modules by faster ones, where these compute the same."""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.acceleration.packing import pack_linears
from services.engine.acceleration.tolerance import must_be_numbers, tolerance
from services.engine.batching.wanted import ask_between_layers
from services.engine.fusion.encoder import fuse_encoder_layers
from services.engine.fusion.last_layer import spare_unread
from services.engine.fusion.substitution import Agreed, Substitutions
from services.engine.narrow.linear import NarrowLinear
from services.engine.native.arena import Arena
from services.engine.native.library import Library, load_library

log = logging.getLogger(__name__)

T = TypeVar("T")

Fuse = Callable[[Substitutions, Library | None, Arena], None]
"""Replaces modules of a model by fused ones."""


class OnDevice(Protocol):
    """A loaded model of any kind."""

    @property
    def model(self) -> PreTrainedModel:
        """The model."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        ...


def accelerated(loaded: OnDevice, check: Callable[[], T], fuse: Fuse | None = None, agreed: Agreed = bool) -> T:
    """Replaces the model's modules by faster ones, and returns the result of `check`, which runs the model.

    If `check` fails, first the layers whose weights the model reads itself get their own modules back, then all layers
    do. Raises what `check` raises with the model's own modules.
    """
    substitutions, arena = Substitutions(loaded.model, agreed), Arena()
    library = load_library() if loaded.device.type == "cpu" else None
    if library is not None:
        library.threads = torch.get_num_threads()
    if fuse is not None:
        fuse(substitutions, library, arena)
    pack_linears(substitutions, loaded.model, library, arena)
    if loaded.device.type == "cuda":
        _replace_narrow(substitutions, loaded.model)
    while True:
        try:
            result = check()
        except Exception as error:  # a compiler of kernels raises anything
            if not substitutions.undo_read():
                faster = substitutions.counts()
                substitutions.undo()
                result = check()
                log.warning("the model's own modules are used, as the check failed with %s: %s", faster, error)
                return result
        else:
            log.info("modules replaced by faster ones: %s", substitutions.counts())
            return result


def _replace_narrow(substitutions: Substitutions, model: PreTrainedModel) -> None:
    """Gives linear layers with 8-bit weights their GPU kernels."""
    if not any(isinstance(module, NarrowLinear) for module in model.modules()):
        return
    try:  # imported here, as Triton is not available on every system
        from services.engine.fusion.triton.substitution import replace_narrow
    except ImportError:
        log.warning("There is no Triton here: 8-bit weights are converted in each step, which is slow")
        return
    replace_narrow(substitutions, model)


def accelerate(loaded: OnDevice, run: Callable[[], Sequence[Tensor]], expected: Sequence[Tensor] | None = None) -> None:
    """Replaces the model's modules by faster ones, and checks that `run` returns the same as before.

    `run` runs the model and returns every output that is ever read: other results may no longer be computed. `expected`
    is what it has returned already. On a CPU the model then checks between layers whether its result is still wanted.
    On a GPU that has no use, as all layers are launched by then.
    """
    check = _comparison(loaded, run, run() if expected is None else expected)
    accelerated(loaded, check)
    _fuse_encoder(loaded, run, check)
    spare_unread(loaded.model, check)
    if loaded.device.type == "cpu":
        ask_between_layers(loaded.model)


def fuse_encoder(loaded: OnDevice, run: Callable[[], Sequence[Tensor]]) -> None:
    """Computes each encoder layer in one native call, if `run`, which runs them, then returns the same."""
    _fuse_encoder(loaded, run, _comparison(loaded, run, run()))


def _comparison(
    loaded: OnDevice, run: Callable[[], Sequence[Tensor]], expected: Sequence[Tensor]
) -> Callable[[], None]:
    """Returns a check that calls `run` and raises RuntimeError if its results are not as expected.

    Raises:
        ModelRefused: what is expected contains NaN.
    """
    must_be_numbers(loaded.model, expected)

    def check() -> None:
        for own, found in zip(expected, run(), strict=True):
            difference = (found - own).abs().max() / own.abs().max().clamp_min(1e-6)
            if not difference <= tolerance(loaded.model.dtype):
                raise RuntimeError(f"they differ by {difference:.2g}")

    return check


def _fuse_encoder(loaded: OnDevice, run: Callable[[], Sequence[Tensor]], check: Callable[[], None]) -> None:
    library = load_library() if loaded.device.type == "cpu" else None
    if library is None:
        return
    fused = fuse_encoder_layers(loaded.model, library, run)
    if not fused:
        return
    try:
        check()
    except RuntimeError as error:
        log.info("the model's own layers are used: %s", error)
        for layer in fused:
            del layer.forward
    else:
        log.info("%d encoder layers are computed in one native call each", len(fused))
