"""Records steps at load, and compares them with steps that are not recorded."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch

from services.engine.adapters.beside import AdaptersBeside
from services.engine.device.memory import DeviceMemory
from services.engine.fusion.substitution import Agreed
from services.engine.generation.building.verification import check_prompts
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.step_shape import Extent
from services.engine.generation.running.runner import ModelRunner, Recorded
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel

if TYPE_CHECKING:
    from services.engine.generation.recorded.step_graphs import StepGraphs

log = logging.getLogger(__name__)

_ROUNDS = 5
_PROPOSED = 3
"""Proposed tokens of a row in the comparison."""
_EXTENTS = (Extent(True, 1024), Extent(True, 256), Extent(True), Extent())
"""What is recorded; if one fails, the next is tried. With more than 256 tokens mixtures use the model's own experts."""
_ADAPTED = tuple(replace(extent, adapted=True) for extent in _EXTENTS)
"""Tried before those if adapters share steps with other rows."""


def record_steps(
    loaded: LoadedModel, runner: ModelRunner, pool: PagePool, rows: int, agreed: Agreed = bool
) -> Recorded | None:
    """Returns recorded steps of up to `rows` rows, or None if the model cannot be recorded or gives other results.

    If recording fails, steps that read many tokens of prompts are left out, then all that read, then those with
    proposals. All ranks of a model return the same kinds, or all None.
    """
    longest = min(loaded.context_tokens, pool.page_count * pool.page_size)
    for extent in _extents(loaded):
        graphs = _graphs(loaded, runner, longest)
        if graphs is None:
            return None
        works = partial(graphs.record, rows, extent), partial(_require_equal, loaded, runner, pool, graphs)
        if all(agreed(_succeeds(work, extent)) for work in works):
            return graphs
        torch.cuda.synchronize(loaded.device)
        torch.cuda.empty_cache()
    return None


def race_tiles(loaded: LoadedModel, runner: ModelRunner, pool: PagePool, rows: int) -> None:
    """Times recorded steps of up to `rows` rows, and chooses the fastest tiles of the decode kernel and who sums split
    products.

    If that fails, everything stays as it is.
    """
    graphs = _graphs(loaded, runner, min(loaded.context_tokens, pool.page_count * pool.page_size))
    if graphs is None:
        return
    from services.engine.generation.recorded.tile_race import TileRace  # as in `_graphs`

    try:
        TileRace(graphs, runner, pool, loaded.model, loaded.vocabulary_size).run(rows)
    except Exception as failure:  # a model may do anything that cannot be recorded
        log.warning("Other tiles of attention could not be timed: %s", failure)
    del graphs
    torch.cuda.synchronize(loaded.device)
    torch.cuda.empty_cache()


def _succeeds(work: Callable[[], object], extent: Extent) -> bool:
    try:
        work()
    except Exception as failure:  # a model may do anything that cannot be recorded
        kinds = f"{'with' if extent.proposing else 'without'} proposals, prompts of {extent.reading} tokens"
        kinds += ", adapters" if extent.adapted else ""
        log.warning("Steps are not recorded (%s): %s", kinds, failure)
        return False
    return True


def _require_equal(loaded: LoadedModel, runner: ModelRunner, pool: PagePool, recorded: Recorded) -> None:
    """Raises ArithmeticError if recorded steps give other results."""
    error = recorded_error(loaded, runner, pool, recorded)
    if not error <= runner.allowed_error:
        raise ArithmeticError(f"recorded steps give other results (relative error {error:.2g})")


def graph_bytes(loaded: LoadedModel, runner: ModelRunner, memory: DeviceMemory, rows: int) -> int:
    """Estimates the bytes of recorded steps of up to `rows` rows, from the largest one, whose memory the others reuse.

    Only logits, and what the driver keeps for a recording, are counted for each.
    """
    for extent in _extents(loaded):
        graphs = _graphs(loaded, runner, loaded.context_tokens)
        if graphs is None:
            return 0
        before = memory.read()
        try:
            recordings = graphs.record(rows, extent, largest=True)
        except Exception as failure:  # this extent will not be used then
            log.debug("Steps cannot be recorded: %s", failure)
            continue
        after = memory.read()
        held = after.held - before.held
        driver = max(before.free - after.free - held, 0) * recordings.count // recordings.made
        return held + recordings.left_bytes + driver
    return 0


def _graphs(loaded: LoadedModel, runner: ModelRunner, longest: int) -> "StepGraphs | None":
    """Returns an empty StepGraphs for sequences of up to `longest` tokens, or None if attention has no GPU kernels."""
    try:  # imported here, as Triton is not available on every system
        from services.engine.generation.attention.triton.backend import TritonAttention
        from services.engine.generation.recorded.step_graphs import StepGraphs
    except ImportError:
        return None
    if not isinstance(runner.backend, TritonAttention):
        return None
    return StepGraphs(loaded.model, runner.backend, runner.cache, loaded.device, longest, _joined(loaded))


def _joined(loaded: LoadedModel) -> AdaptersBeside | None:
    return loaded.adapters if loaded.adapters is not None and loaded.adapters.joined else None


def _extents(loaded: LoadedModel) -> Sequence[Extent]:
    """Returns what to record, in the order in which it is tried."""
    return (*_ADAPTED, *_EXTENTS) if _joined(loaded) else _EXTENTS


def reading_seconds(loaded: LoadedModel, runner: ModelRunner, pool: PagePool) -> float:
    """Returns how many seconds a step that reads a few tokens takes longer than a decode step.

    If such steps are not recorded, most of it is launching kernels.
    """
    sequence = CachedTokens(check_prompts(loaded, pool)[0].tolist())
    count = len(sequence.token_ids)
    pool.grow(sequence.pages, count)
    try:
        reading = _seconds(loaded, runner, Row(sequence, count))
        sequence.computed = count - 1
        return max(reading - _seconds(loaded, runner, Row(sequence, 1)), 0.0)
    finally:
        pool.release(sequence.pages)


def _seconds(loaded: LoadedModel, runner: ModelRunner, row: Row[CachedTokens]) -> float:
    times: list[float] = []
    for _ in range(_ROUNDS):
        began = time.monotonic()
        runner.run([row])
        torch.cuda.synchronize(loaded.device)
        times.append(time.monotonic() - began)
    return median(times)


def recorded_error(loaded: LoadedModel, runner: ModelRunner, pool: PagePool, recorded: Recorded) -> float:
    """Returns the greatest relative error of recorded steps of one row and of several; NaN if any result is NaN.

    Prompts and proposed tokens are included if they are recorded. If adapters share steps, everything is compared once
    more with an adapter for one of the rows.
    """
    adapters = _joined(loaded)
    names = ("", [*adapters.named][-1]) if adapters else ("",)
    return float(np.max([_error(loaded, runner, pool, recorded, name) for name in names]))  # keeps NaN


def _error(loaded: LoadedModel, runner: ModelRunner, pool: PagePool, recorded: Recorded, adapter: str) -> float:
    """Returns the error with this adapter for the first row; an empty name is none."""
    sequences = [CachedTokens(ids) for ids in check_prompts(loaded, pool).tolist()]
    sequences[0].adapter = adapter
    for sequence in sequences:
        pool.grow(sequence.pages, len(sequence.token_ids))
    try:
        whole = [Row(sequence, len(sequence.token_ids)) for sequence in sequences]
        errors = [_difference(runner, recorded, rows) for rows in (whole[:1], whole)]
        for sequence in sequences:
            sequence.computed = len(sequence.token_ids) - 1
        last = [Row(sequence, 1) for sequence in sequences]
        several = [_proposing(sequence) for sequence in sequences]
        halves = [_second_half(sequence) for sequence in sequences[1:]]
        steps = (last[:1], last, several[:1], several, [*last[:1], *halves])
        errors += [_difference(runner, recorded, rows) for rows in steps]
        return float(np.max(errors))  # keeps NaN, unlike Python's own max
    finally:
        for sequence in sequences:
            pool.release(sequence.pages)


def _difference(runner: ModelRunner, recorded: Recorded, rows: list[Row[CachedTokens]]) -> float:
    shape = recorded.shape_for(rows)
    if shape is None:
        return 0.0
    expected = runner.run(rows)
    found = recorded.run(rows, shape)
    return float((found - expected).norm() / expected.norm())


def _proposing(sequence: CachedTokens) -> Row[CachedTokens]:
    """Returns a row with the last tokens of a sequence as proposals."""
    known, proposed = sequence.token_ids[:-_PROPOSED], sequence.token_ids[-_PROPOSED:]
    row = CachedTokens(known, pages=sequence.pages, computed=len(known) - 1, adapter=sequence.adapter)
    return Row(row, 1 + _PROPOSED, scored=_PROPOSED, proposed=tuple(proposed))


def _second_half(sequence: CachedTokens) -> Row[CachedTokens]:
    """Returns a row with the second half of a prompt."""
    half = len(sequence.token_ids) // 2
    row = CachedTokens(sequence.token_ids, pages=sequence.pages, computed=half, adapter=sequence.adapter)
    return Row(row, len(sequence.token_ids) - half)
