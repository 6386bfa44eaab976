"""Runs each step on all ranks."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from services.engine.device.faults import DeviceFault
from services.engine.generation.attention.backend import AttentionBackend
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.recorded.launched_step import LaunchedStep, StepLauncher
from services.engine.generation.running.runner import ModelRunner, partial_pages
from services.engine.generation.sequence import CachedTokens, Row, Sequence
from services.engine.loading import LoadedModel
from services.engine.parallel.group import RankGroup
from services.engine.parallel.step import Order, packed_launch, packed_rows, rows_of

T = TypeVar("T")


class LeadingRunner(ModelRunner):
    """The first rank's runner: sends the rows of a step to the other ranks, and runs them too.

    The ranks wait for each other within a forward, so a rank that fails there cannot repeat the step: all ranks have to
    end.
    """

    def __init__(self, loaded: LoadedModel, backend: AttentionBackend, cache: KVCache, group: RankGroup) -> None:
        super().__init__(loaded.model, backend, cache, loaded.device)
        self._group = group
        self.busy_since: float | None = None
        """Start of the running exchange, as `time.monotonic` seconds; None if there is none."""
        self.lost = False
        """Whether no step can be run any more."""
        self.took: Callable[[float], object] = lambda _seconds: None
        """Called with the seconds that each message to the other ranks took."""

    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """See Runner. Raises DeviceFault."""

        def all_ranks() -> Tensor:
            self._tell([Order.RUN, *packed_rows(rows)])
            logits = super(LeadingRunner, self).run(rows)
            if logits.is_cuda:  # wait here, so that `busy_since` shows a rank that hangs
                torch.cuda.current_stream(logits.device).synchronize()
            return logits

        return self._together(all_ranks)

    @property
    def launcher(self) -> StepLauncher | None:
        """See ModelRunner."""
        return self if self.recorded else None

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        """See StepLauncher. Raises DeviceFault."""
        recorded = self.recorded
        assert recorded is not None

        def all_ranks() -> LaunchedStep | None:
            self._tell(packed_launch(rows, after))
            return recorded.launch(rows, after)

        step = self._together(all_ranks)
        if step is None or step.rest is None:
            return step
        return replace(step, rest=partial(self._together, step.rest))  # the other ranks wait for the chosen tokens

    def fork(self, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> None:
        """See Runner. Raises DeviceFault."""
        sources, targets = partial_pages(self.cache.page_size, pairs)

        def all_ranks() -> None:
            self._tell([Order.COPY, len(sources), *sources, *targets])
            self.cache.copy_pages(sources, targets)

        if sources:
            self._together(all_ranks)

    def end(self) -> None:
        """Ends the other ranks, unless one is lost."""
        if not self.lost:
            self._together(lambda: self._tell([Order.END]))

    def _tell(self, numbers: list[int]) -> None:
        began = time.monotonic()
        self._group.tell(numbers)
        self.took(time.monotonic() - began)

    def _together(self, work: Callable[[], T]) -> T:
        if self.lost:
            raise DeviceFault("rank_lost")
        self.busy_since = time.monotonic()
        try:
            return work()
        except Exception as error:
            self.lost = True
            raise DeviceFault("rank_lost") from error
        finally:
            self.busy_since = None


def follow(runner: ModelRunner, group: RankGroup) -> None:
    """Runs the steps that the first rank sends, until it sends the end."""
    while (told := group.hear())[0] != Order.END:
        order, *numbers = told
        if order == Order.RUN:
            runner.run(rows_of(numbers))
            continue
        count, *numbers = numbers
        if order == Order.COPY:
            runner.cache.copy_pages(numbers[:count], numbers[count:])
        elif runner.recorded is not None:
            runner.recorded.follow(rows_of(numbers[count:]), numbers[:count])
