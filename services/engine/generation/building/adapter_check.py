"""Compares the engine's logits with adapters to those of the model's own modules with adapters, at load."""

import logging
from dataclasses import dataclass

from torch import Tensor

from services.engine.adapters.beside import Span
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.generation.building.verification import engine_logits, model_logits
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdapterCheck:
    """The logits that the engine must reproduce with each adapter."""

    prompts: Tensor
    logits: dict[str, Tensor]
    """The model's own, `[prompts, vocabulary]`, by the names of adapters."""

    @classmethod
    def of(cls, loaded: LoadedModel, prompts: Tensor) -> "AdapterCheck":
        """Computes them with the model's own modules, before any is replaced.

        Raises:
            ModelRefused: an adapter changes a layer that reads other tokens than the step's, such as an encoder's.
        """
        logits: dict[str, Tensor] = {}
        adapters = loaded.adapters
        for name in adapters.named if adapters is not None else ():
            assert adapters is not None
            try:
                with adapters.applied([Span(name, 0, prompts.numel())]):
                    logits[name] = model_logits(loaded, prompts)
            except MODEL_ERRORS as error:
                raise ModelRefused(f"The adapter {name} cannot stay beside {loaded.architecture}: {error}.") from error
        return cls(prompts, logits)

    def verify(self, runner: ModelRunner, pool: PagePool, allowed: float) -> None:
        """Computes the prompts in chunks with each adapter, and compares their last logits.

        Raises:
            ModelRefused: they differ by more than `allowed`.
        """
        for name, wanted in self.logits.items():
            found = engine_logits(runner, pool, self.prompts, adapter=name)
            error = float((found - wanted).norm() / wanted.norm())
            if not error <= allowed:
                raise ModelRefused(
                    f"With the adapter {name} other logits are computed in steps than by the model alone (relative "
                    f"error {error:.2g}, {allowed:.2g} allowed). Serve it by itself: --adapter merges it."
                )


def verify_adapters(
    loaded: LoadedModel, check: AdapterCheck, runner: ModelRunner, pool: PagePool, allowed: float
) -> None:
    """Compares the logits with adapters; where these differ, rows with adapters no longer share steps with others.

    Raises:
        ModelRefused: they differ in steps of their own too.
    """
    adapters = loaded.adapters
    if adapters is not None and (adapters.joined or adapters.grouped):
        try:
            check.verify(runner, pool, allowed)
        except Exception as error:  # a compiler of kernels raises anything
            log.warning("Rows with adapters are computed apart from others: %s", error)
            adapters.joined = adapters.grouped = False
        else:
            return
    check.verify(runner, pool, allowed)
