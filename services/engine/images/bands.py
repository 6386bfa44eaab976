"""Runs Swin2SR's layers band by band, which saves memory and time: its windows do not attend to each other."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.models.swin2sr.modeling_swin2sr import Swin2SRLayer, window_partition, window_reverse

from services.engine.acceleration.replacement import OnDevice
from services.engine.acceleration.tolerance import tolerance
from services.engine.batching.wanted import still_wanted

_BAND_TOKENS = 8192
"""Tokens of a band: few enough that it fits into the CPU's caches and the allocator reuses its memory."""


def compute_by_bands(loaded: OnDevice, run: Callable[[], Sequence[Tensor]]) -> None:
    """On a CPU, makes each Swin2SR layer compute band by band, unless that changes the outputs of `run`."""
    layers: list[Any] = [module for module in loaded.model.modules() if isinstance(module, Swin2SRLayer)]
    if loaded.device.type != "cpu" or not layers:
        return
    expected = run()
    for layer in layers:
        layer.forward = partial(_by_bands, layer)
    largest = max(float((own - found).abs().max()) for own, found in zip(expected, run(), strict=True))
    if not largest <= tolerance(loaded.model.dtype):
        for layer in layers:
            del layer.forward


def _by_bands(layer: Any, states: Tensor, size: tuple[int, int], *more: Any, **named: Any) -> tuple[Tensor, ...]:
    """Replaces Swin2SRLayer.forward, for states `[images, height * width, channels]`."""
    (height, width), side, shift = size, layer.window_size, layer.shift_size
    if height % side or width % side:
        return Swin2SRLayer.forward(layer, states, size, *more, **named)
    image = states.view(len(states), height, width, -1)
    made = torch.empty_like(image)
    masks = layer.get_attn_mask(2 * side, width, states.dtype)
    rows = max(_BAND_TOKENS // (len(states) * width * side), 1) * side
    for top in range(0, height, rows):
        still_wanted()
        bottom = min(top + rows, height)
        mask = None if masks is None else _mask(masks, (bottom - top) // side, last=bottom == height)
        # The cyclic shift wraps around at the edges of the image.
        lines = torch.arange(top + shift, bottom + shift) % height
        band = torch.roll(image[:, lines], -shift, 2)
        made[:, lines] = torch.roll(_band(layer, band, mask), shift, 2)
    return (made.view_as(states),)


def _mask(masks: Tensor, rows: int, *, last: bool) -> Tensor:
    """Returns the attention mask for `rows` rows of windows; `last` if these include the image's last one.

    `masks` holds the masks of two rows of windows: only the last row's differs from all others.
    """
    inner, lowest = masks.chunk(2)
    return torch.cat([inner] * (rows - last) + [lowest] * last)


def _band(layer: Any, band: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the layer's output for whole rows of windows, `[images, height, width, channels]`."""
    side, (_, height, width, channels) = layer.window_size, band.shape
    windows = window_partition(band, side).view(-1, side * side, channels)
    (seen,) = layer.attention(windows, mask)
    seen = window_reverse(seen.view(-1, side, side, channels), side, height, width)
    states = band + layer.layernorm_before(seen)
    return states + layer.layernorm_after(layer.output(layer.intermediate(states)))
