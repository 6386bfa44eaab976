"""Records decode steps at load, and compares them with steps that were not recorded."""

import logging
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import torch

from services.engine.device.memory import DeviceMemory
from services.engine.fusion.substitution import Agreed
from services.engine.generation.building.verification import check_prompts
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner, Recorded
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel

if TYPE_CHECKING:
    from services.engine.generation.recorded.decode_graphs import DecodeGraphs

log = logging.getLogger(__name__)

_ROUNDS = 5
_PROPOSED = 3
"""Of a row with which steps are compared."""


def record_decoding(
    loaded: LoadedModel, runner: ModelRunner, pool: PagePool, rows: int, agreed: Agreed = bool
) -> Recorded | None:
    """Returns recorded decode steps of up to so many rows; None where they cannot be had, or compute something else.

    Those with proposed tokens are among them, unless that fails where the others do not. Where other ranks have parts
    of the model, all of them return the same, or none does.
    """
    longest = min(loaded.context_tokens, pool.page_count * pool.page_size)
    for wide in (True, False):
        graphs = _graphs(loaded, runner, longest)
        if graphs is None:
            return None
        works = partial(graphs.record, rows, wide=wide), partial(_require_equal, loaded, runner, pool, graphs)
        if all(agreed(_succeeds(work, wide)) for work in works):
            return graphs
        torch.cuda.synchronize(loaded.device)
        torch.cuda.empty_cache()
    return None


def _succeeds(work: Callable[[], object], wide: bool) -> bool:
    try:
        work()
    except Exception as failure:  # whatever a model does that cannot be recorded
        log.warning("Decode steps %sare not recorded: %s", "with proposed tokens " if wide else "", failure)
        return False
    return True


def _require_equal(loaded: LoadedModel, runner: ModelRunner, pool: PagePool, recorded: Recorded) -> None:
    """Raises ArithmeticError where recorded steps compute something else."""
    error = recorded_error(loaded, runner, pool, recorded)
    if not error <= runner.allowed_error:
        raise ArithmeticError(f"they differ then (relative error {error:.2g})")


def graph_bytes(loaded: LoadedModel, runner: ModelRunner, memory: DeviceMemory, rows: int) -> int:
    """Returns what recorded decode steps of up to so many rows take, from the largest: others use their memory again.

    What the driver keeps of a recording each of them takes anew.
    """
    for wide in (True, False):
        graphs = _graphs(loaded, runner, loaded.context_tokens)
        if graphs is None:
            return 0
        before = memory.read()
        try:
            count = graphs.record(rows, wide=wide, largest=True)
        except Exception as failure:  # then none will be used
            log.debug("Decode steps cannot be recorded: %s", failure)
            continue
        after = memory.read()
        held = after.held - before.held
        return held + max(before.free - after.free - held, 0) * count // (2 if wide else 1)
    return 0


def _graphs(loaded: LoadedModel, runner: ModelRunner, longest: int) -> "DecodeGraphs | None":
    """Returns what records decode steps of sequences of up to `longest` tokens; None where attention has no kernels."""
    try:  # here, as Triton is not made for every system
        from services.engine.generation.attention.triton.backend import TritonAttention
        from services.engine.generation.recorded.decode_graphs import DecodeGraphs
    except ImportError:
        return None
    if not isinstance(runner.backend, TritonAttention):
        return None
    return DecodeGraphs(loaded.model, runner.backend, runner.cache, loaded.device, longest)


def reading_seconds(loaded: LoadedModel, runner: ModelRunner, pool: PagePool) -> float:
    """Returns how long a step takes that reads a few tokens, which is not recorded: most of it is launching kernels."""
    sequence = CachedTokens(check_prompts(loaded, pool)[0].tolist())
    pool.grow(sequence.pages, len(sequence.token_ids))
    times: list[float] = []
    try:
        for _ in range(_ROUNDS):
            began = time.monotonic()
            runner.run([Row(sequence, len(sequence.token_ids))])
            torch.cuda.synchronize(loaded.device)
            times.append(time.monotonic() - began)
    finally:
        pool.release(sequence.pages)
    return median(times)


def recorded_error(loaded: LoadedModel, runner: ModelRunner, pool: PagePool, recorded: Recorded) -> float:
    """Returns by how much recorded steps, of one row and of several, differ from others at most.

    So those in which a row has several tokens, where they are recorded.
    """
    sequences = [CachedTokens(ids) for ids in check_prompts(loaded, pool).tolist()]
    for sequence in sequences:
        pool.grow(sequence.pages, len(sequence.token_ids))
    try:
        before = [Row(sequence, len(sequence.token_ids) - 1) for sequence in sequences]
        runner.run(before)
        for row in before:
            row.sequence.computed = row.token_count
        last = [Row(sequence, 1) for sequence in sequences]
        errors = [_difference(runner, recorded, rows) for rows in (last[:1], last)]
        wide = [_proposing(sequence) for sequence in sequences]
        return max(*errors, *(_difference(runner, recorded, rows) for rows in (wide[:1], wide)))
    finally:
        for sequence in sequences:
            pool.release(sequence.pages)


def _difference(runner: ModelRunner, recorded: Recorded, rows: list[Row[CachedTokens]]) -> float:
    size = recorded.size_for(rows)
    if not size:
        return 0.0
    expected = runner.run(rows)
    found = recorded.run(rows, size)
    return float((found - expected).norm() / expected.norm())


def _proposing(sequence: CachedTokens) -> Row[CachedTokens]:
    """Returns a row to which the last tokens of a sequence were proposed."""
    known, proposed = sequence.token_ids[:-_PROPOSED], sequence.token_ids[-_PROPOSED:]
    row = CachedTokens(known, pages=sequence.pages, computed=len(known) - 1)
    return Row(row, 1 + _PROPOSED, scored=_PROPOSED, proposed=tuple(proposed))
