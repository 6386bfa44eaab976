"""Measures what an audio model accepts: the shortest input, and padding in batches."""

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
"""Shares of the whole length. The effect of padding depends on where the audio ends within the model's strides."""


def noise(seconds: float, rate: int) -> Samples:
    """Returns uniform noise, float32 `[samples]`, whose parts all differ; always the same."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


def learn(reader: AudioReader, runner: AudioRunner, dtype: torch.dtype) -> None:
    """Sets the reader's `fewest` samples, and `pads`: whether recordings of unequal lengths can share a batch."""
    reader.fewest = _fewest(lambda count: _is_read(reader, runner, count), reader.rate)
    reader.pads = _pads(reader, runner, tolerance(dtype))


def _is_read(reader: AudioReader, runner: AudioRunner, count: int) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # numpy warns about means of empty arrays
            outputs = runner.compute([reader.process(noise(count / reader.rate, reader.rate)).tensors])
    except (ValueError, IndexError, RuntimeError, ZeroDivisionError, AssertionError):
        return False
    return all(value.isfinite().all() for value in outputs.values())


def _fewest(is_read: Callable[[int], bool], enough: int) -> int:
    """Returns the least number of samples that the model reads, at most `enough`, by bisection."""
    below, found = 0, 1
    while found < enough and not is_read(found):
        below, found = found, min(found * 2, enough)
    while found - below > 1:
        middle = (below + found) // 2
        below, found = (below, middle) if is_read(middle) else (middle, found)
    return found


def _pads(reader: AudioReader, runner: AudioRunner, allowed: float) -> bool:
    """Returns whether a recording gets the same outputs when it is padded beside a longer one.

    Models without an attention mask, such as the first wav2vec2, would take padding for silence.
    """
    whole = noise(_SECONDS, reader.rate)
    long = reader.process(whole)
    shorter = [reader.process(whole[: round(len(whole) * share)]) for share in _SHORTER]
    if not any("mask" in name for name in long.tensors) or not all(_fits(each, long) for each in shorter):
        return False
    *beside, _ = _answers(runner, [*shorter, long])
    return all(
        _is_same(_answers(runner, [each])[0], found, allowed) for each, found in zip(shorter, beside, strict=True)
    )


def _fits(short: AudioInputs, long: AudioInputs) -> bool:
    """Returns whether the inputs differ in the first dimension only, the one that is padded."""
    shapes = ({name: value.shape[1:] for name, value in each.tensors.items()} for each in (short, long))
    return short.kind != long.kind and next(shapes) == next(shapes)


def _is_same(alone: dict[str, Tensor] | None, beside: dict[str, Tensor] | None, allowed: float) -> bool:
    """Returns whether a recording's outputs alone and padded beside others are equal."""
    if alone is None or beside is None:
        return False
    for name, value in alone.items():
        if not value.is_floating_point():
            continue
        if value.dim():  # frames of padding are not compared; an extractor may pad even a single recording
            value = value[: alone["count"]] if "count" in alone else value
        found = beside[name][: len(value)] if value.dim() else beside[name]
        if found.shape != value.shape or (found - value).abs().max() > allowed * value.abs().max().clamp_min(1e-6):
            return False
    return True


def _answers(runner: AudioRunner, inputs: Sequence[AudioInputs]) -> list[dict[str, Tensor] | None]:
    """Runs inputs as one batch, and unfinished searches to their end. Outputs are as in TensorRunner."""
    found: list[Any] = list(runner.run([Item(each) for each in inputs]))
    while left := [i for i, output in enumerate(found) if isinstance(output, Unfinished)]:
        for i, output in zip(left, runner.run([found[i].rest for i in left]), strict=True):
            found[i] = output
    return found
