"""What can be learned of a model of audio only by trying it."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.engine.acceleration.tolerance import tolerance
from services.engine.audio.reader import AudioInputs, AudioReader
from services.engine.audio.runner import AudioRunner
from services.engine.batching.job import Item, Unfinished
from services.engine.media.recording import Samples

_SECONDS = 1.0
_SHORTER = (0.7, 0.69, 0.64, 0.4)
"""Of the whole: what a model takes of the padding beside a sound depends on where in its strides the sound ends."""


def noise(seconds: float, rate: int) -> Samples:
    """Returns a sound in which nothing is alike, so that no two places compute the same."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


def learn(reader: AudioReader, runner: AudioRunner, dtype: torch.dtype) -> None:
    """Tells the reader what the model cannot read, and whether recordings of unequal lengths can share a batch."""
    reader.fewest = _fewest(lambda count: _is_read(reader, runner, count), reader.rate)
    reader.pads = _pads(reader, runner, tolerance(dtype))


def _is_read(reader: AudioReader, runner: AudioRunner, count: int) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # of numpy, on means of nothing
            outputs = runner.compute([reader.process(noise(count / reader.rate, reader.rate)).tensors])
    except (ValueError, IndexError, RuntimeError, ZeroDivisionError, AssertionError):
        return False
    return all(value.isfinite().all() for value in outputs.values())


def _fewest(is_read: Callable[[int], bool], enough: int) -> int:
    """Returns the least number of samples that is read, at most `enough`."""
    below, found = 0, 1
    while found < enough and not is_read(found):
        below, found = found, min(found * 2, enough)
    while found - below > 1:
        middle = (below + found) // 2
        below, found = (below, middle) if is_read(middle) else (middle, found)
    return found


def _pads(reader: AudioReader, runner: AudioRunner, allowed: float) -> bool:
    """Returns whether the model gives a sound the same answer beside a longer one.

    One that is told of no padding, such as those of wav2vec2's first kind, takes it for silence.
    """
    whole = noise(_SECONDS, reader.rate)
    long = reader.process(whole)
    shorter = [reader.process(whole[: round(len(whole) * share)]) for share in _SHORTER]
    if not any("mask" in name for name in long.tensors) or not all(_fits(each, long) for each in shorter):
        return False
    return all(_is_same_beside(each, long, runner, allowed) for each in shorter)


def _fits(short: AudioInputs, long: AudioInputs) -> bool:
    """Returns whether nothing but lengths sets them apart: only there is anything padded."""
    shapes = ({name: value.shape[1:] for name, value in each.tensors.items()} for each in (short, long))
    return short.kind != long.kind and next(shapes) == next(shapes)


def _is_same_beside(short: AudioInputs, long: AudioInputs, runner: AudioRunner, allowed: float) -> bool:
    (alone,), (beside, _) = _answers(runner, [short]), _answers(runner, [short, long])
    for name, value in alone.items():
        if not value.is_floating_point():
            continue
        if value.dim():  # of frames that are padding even alone nothing is told
            value = value[: alone["count"]] if "count" in alone else value
        found = beside[name][: len(value)] if value.dim() else beside[name]
        if found.shape != value.shape or (found - value).abs().max() > allowed * value.abs().max().clamp_min(1e-6):
            return False
    return True


def _answers(runner: AudioRunner, inputs: Sequence[AudioInputs]) -> list[dict[str, Tensor]]:
    """Returns what the model makes of inputs side by side, to the end of each."""
    found: list[Any] = list(runner.run([Item(each) for each in inputs]))
    while left := [i for i, output in enumerate(found) if isinstance(output, Unfinished)]:
        for i, output in zip(left, runner.run([found[i].rest for i in left]), strict=True):
            found[i] = output
    return found
