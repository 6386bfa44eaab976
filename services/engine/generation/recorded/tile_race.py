"""Times alternatives for decode steps at load, in recorded steps of the whole model, so that kernels overlap as in
service.

The alternatives are tiles of attention, which kernel adds up split-K products, and how many kernels begin a step.
"""

import logging
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from services.engine.device.race import Clock, entered, fastest, least, replay_seconds
from services.engine.fusion.triton.decoder import GpuDecoderLayer
from services.engine.fusion.triton.few_rows import size_for
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.attention.triton.tiles import DecodeTile, group_of, raced_tiles
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.step_graphs import StepGraph, StepGraphs
from services.engine.generation.recorded.step_shape import Kind, StepShape
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row

log = logging.getLogger(__name__)

_SIZES = (1, 8, 32, 128)
"""Rows of the timed steps, one for each group of numbers of rows with its own tile."""
_CONTEXT, _LEAST_CONTEXT = 1024, 256
"""Tokens of each row, and the fewest that are worth timing if there are not enough pages."""
_GAIN = 0.01
"""Share of a step's time that another tile has to save to be chosen."""
_GAIN_OF_SAME = 0.002
"""The same for what computes the same bits: more than times differ by from replay to replay."""
_SECONDS = 20.0
"""No further tiles are compiled after this time."""

Timer = Callable[[torch.cuda.CUDAGraph], float]


class Agreement:
    """Compares the logits of steps with those of the first."""

    def __init__(self, allowed_error: float) -> None:
        self._allowed_error = allowed_error
        self._expected: Tensor | None = None

    def checked(self, step: StepGraph) -> torch.cuda.CUDAGraph:
        """Returns the recording of a step.

        Raises:
            ArithmeticError: its logits differ by more than is allowed.
        """
        step.graph.replay()
        logits = step.logits.float()
        expected = self._expected = logits if self._expected is None else self._expected
        error = float((logits - expected).norm() / expected.norm())
        if not error <= self._allowed_error:
            raise ArithmeticError(f"it computes something else (relative error {error:.2g})")
        return step.graph


class TileRace:
    """Chooses the fastest alternative for each number of rows. `graphs` belong to the same runner and model, and are
    used only for this.
    """

    def __init__(
        self, graphs: StepGraphs, runner: ModelRunner, pool: PagePool, model: nn.Module, vocabulary: int
    ) -> None:
        """`vocabulary` is the number of token ids. Logits of alternatives may differ by the runner's allowed error."""
        assert isinstance(runner.backend, TritonAttention)
        self._vocabulary = vocabulary
        self._layers = [module for module in model.modules() if isinstance(module, GpuDecoderLayer)]
        self._graphs, self._backend, self._cache, self._pool = graphs, runner.backend, runner.cache, pool
        self._allowed_error = runner.allowed_error

    @torch.inference_mode()
    def run(self, most: int, timer: Timer = replay_seconds, seconds: float = _SECONDS) -> None:
        """Sets the fastest tile for each group of up to `most` rows, then the fastest way to sum split-K products, and
        then to begin a step.

        The default stays if nothing saves enough, or if there is no room for contexts worth timing.
        """
        until = time.monotonic() + seconds
        sizes = {group_of(size): size for size in sorted((min(size, most) for size in _SIZES), reverse=True)}
        for size in sorted(sizes.values()):
            context = min(_CONTEXT, self._graphs.longest, self._pool.free_count // size * self._pool.page_size)
            if context < _LEAST_CONTEXT:
                log.info("no tiles are timed for %d rows, as there are not enough pages for their contexts", size)
                continue
            rows = self._rows(size, context)
            try:
                self._lay(rows, context)
                self._race(rows, timer, until)
                self._race_sums(rows, timer, until)
                self._race_beginnings(rows, timer, until)
            finally:
                for row in rows:
                    self._pool.release(row.sequence.pages)

    def _race(self, rows: list[Row[CachedTokens]], timer: Timer, until: float) -> None:
        count = len(rows)
        shape, own = StepShape(Kind.DECODING, count, count, 1, count), self._backend.tiles.of(count)
        self._graphs.prepare([shape])
        agrees = Agreement(self._allowed_error)

        def fill(tile: DecodeTile) -> None:
            self._backend.tiles.choose(count, tile)
            self._graphs.fill(rows, shape)

        def enter(tile: DecodeTile) -> Clock:
            fill(tile)
            return partial(timed, tile, agrees.checked(self._graphs.recorded(shape)))

        def timed(tile: DecodeTile, graph: torch.cuda.CUDAGraph) -> float:
            fill(tile)  # the tile also decides how contexts are divided among programs
            return timer(graph)

        best = own
        try:
            times = least({own: enter(own)} | entered(self._others(own), enter, until))
            best = fastest(times, own, _GAIN)
            told = ", ".join(f"{tile} {seconds * 1e6:.0f} µs" for tile, seconds in times.items())
            log.info("steps of %d rows use %s; timed: %s", count, best, told)
        finally:
            self._backend.tiles.choose(count, best)

    def _race_sums(self, rows: list[Row[CachedTokens]], timer: Timer, until: float) -> None:
        """Lets layers leave split-K parts to the next kernel, where that makes a step of so many rows faster."""
        count, of_tile = len(rows), frozenset({size_for(len(rows))})
        layers = [layer for layer in self._layers if layer.is_split(count)]

        def choose(left: bool) -> None:
            for layer in layers:
                layer.unsummed_tiles = layer.unsummed_tiles | of_tile if left else layer.unsummed_tiles - of_tile

        if layers:
            names = f"split-K products of {count} rows are added up by", "the product itself", "the norm behind it"
            self._race_switch(rows, choose, names, Agreement(self._allowed_error), _GAIN, timer, until)

    def _race_beginnings(self, rows: list[Row[CachedTokens]], timer: Timer, until: float) -> None:
        """Lets steps of so many rows begin with one kernel, where that is faster and changes no bit."""
        beginning, count = self._graphs.beginning, len(rows)
        if beginning.can_merge:
            names = f"steps of {count} rows begin with", "kernels for tokens, embeddings and angles", "one kernel"
            choose = partial(beginning.merge, count)
            self._race_switch(rows, choose, names, Agreement(0.0), _GAIN_OF_SAME, timer, until)

    def _race_switch(
        self,
        rows: list[Row[CachedTokens]],
        choose: Callable[[bool], None],
        names: tuple[str, str, str],
        agrees: Agreement,
        gain: float,
        timer: Timer,
        until: float,
    ) -> None:
        """Chooses True if that agrees with False and saves the share `gain`, else False.

        `names` are for the log: what is chosen, then False, then True.
        """
        shape = StepShape(Kind.DECODING, len(rows), len(rows), 1, len(rows))
        self._graphs.prepare([shape])
        self._graphs.fill(rows, shape)

        def enter(way: bool) -> Clock:
            choose(way)
            return partial(timer, agrees.checked(self._graphs.recorded(shape)))

        best = False
        try:
            times = least({False: enter(False)} | entered([True], enter, until))
            best = fastest(times, False, gain)
            told = ", ".join(f"{names[1 + way]} {seconds * 1e6:.0f} µs" for way, seconds in times.items())
            log.info("%s %s; timed: %s", names[0], names[1 + best], told)
        finally:
            choose(best)

    def _others(self, own: DecodeTile) -> list[DecodeTile]:
        """Returns the tiles that race against `own`, for the key width of this model."""
        layouts = self._cache.layouts.values()
        key_bytes = min(layout.key_width * layout.dtype.itemsize for layout in layouts)
        return raced_tiles(own, key_bytes)[1:]

    def _rows(self, count: int, context: int) -> list[Row[CachedTokens]]:
        """Returns rows with different next tokens, as far as the vocabulary allows."""
        known = [0] * (context - 1)
        return [Row(CachedTokens([*known, i % self._vocabulary], computed=context - 1), 1) for i in range(count)]

    def _lay(self, rows: list[Row[CachedTokens]], context: int) -> None:
        """Allocates pages for the rows, with random keys and values."""
        for row in rows:
            self._pool.grow(row.sequence.pages, context)
        first = rows[0].sequence.pages
        for index, layout in self._cache.layouts.items():
            device = self._cache.keys(index).device
            slots = torch.tensor(self._cache.slots(first, 0, context), device=device)
            keys, values = (
                torch.randn(context, layout.kv_heads, width, device=device).to(layout.dtype)
                for width in (layout.key_width, layout.value_width)
            )
            self._cache.write(index, slots, keys, values)
        for row in rows[1:]:
            self._cache.copy_pages(first, row.sequence.pages)
