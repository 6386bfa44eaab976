"""Faster modules in the place of a model's own, where they compute the same."""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.batching.wanted import ask_between_layers
from services.engine.fusion.encoder import fuse_encoder_layers
from services.engine.fusion.last_layer import spare_unread
from services.engine.fusion.substitution import Agreed, Substitutions
from services.engine.narrow.linear import NarrowLinear
from services.engine.native.arena import Arena
from services.engine.native.library import Library, load_library
from services.engine.packing import pack_linears
from services.engine.tolerance import must_be_numbers, tolerance

log = logging.getLogger(__name__)

T = TypeVar("T")

Fuse = Callable[[Substitutions, Library | None, Arena], None]
"""Puts modules that are known to be faster in the place of a model's own."""


class OnDevice(Protocol):
    """A loaded model of any kind."""

    @property
    def model(self) -> PreTrainedModel:
        """The model."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        ...


def accelerated(loaded: OnDevice, check: Callable[[], T], fuse: Fuse | None = None, agreed: Agreed = bool) -> T:
    """Puts faster modules into the model where there are any, and returns what `check` of the engine returns.

    Layers whose weights the model computes with itself stay its own. Raises what `check` raises with the model's own
    modules.
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
                log.warning("the model's own modules are used, as its check failed with %s: %s", faster, error)
                return result
        else:
            log.info("replaced by faster ones: %s", substitutions.counts())
            return result


def _replace_narrow(substitutions: Substitutions, model: PreTrainedModel) -> None:
    """Gives layers with weights of 8 bits their kernels."""
    if not any(isinstance(module, NarrowLinear) for module in model.modules()):
        return
    try:  # here, as Triton is not made for every system
        from services.engine.fusion.triton.substitution import replace_narrow
    except ImportError:
        log.warning("Weights of 8 bits are made wide in each step, which is slow: there is no Triton here")
        return
    replace_narrow(substitutions, model)


def accelerate(loaded: OnDevice, run: Callable[[], Sequence[Tensor]]) -> None:
    """Puts faster modules into the model and compares what `run` returns then with what it returned before.

    `run` returns all that is read of the model's output: what nothing of that depends on is not computed any more.
    On a processor it asks between layers whether the work is still wanted; on a GPU they are all launched by then.
    """
    check = _comparison(loaded, run)
    accelerated(loaded, check)
    _fuse_encoder(loaded, run, check)
    spare_unread(loaded.model, check)
    if loaded.device.type == "cpu":
        ask_between_layers(loaded.model)


def fuse_encoder(loaded: OnDevice, run: Callable[[], Sequence[Tensor]]) -> None:
    """Computes encoder layers in one call each where `run`, which runs them, then returns the same."""
    _fuse_encoder(loaded, run, _comparison(loaded, run))


def _comparison(loaded: OnDevice, run: Callable[[], Sequence[Tensor]]) -> Callable[[], None]:
    """Returns what compares later results of `run` with those of now. It raises RuntimeError: they differ.

    Raises:
        ModelRefused: those of now are no numbers.
    """
    expected = run()
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
    try:
        check()
    except RuntimeError as error:
        log.info("the model's own layers are used: %s", error)
        for layer in fused:
            del layer.forward
    else:
        log.info("%d layers are computed in one call each", len(fused))
