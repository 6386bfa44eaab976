"""Runs vocoders and codec decoders in windows, so that audio can be sent before all frames are decoded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil, floor, prod
from typing import Any

import torch
from torch import Tensor, nn

FIRST_FRAMES = 32
"""Frames of the first window: about half a second."""
_MOST_FRAMES = 128
"""Upper limit of later windows, each twice as long as the last: longer windows need less overlap."""


class Windowed:
    """Decodes frames window by window. The result equals decoding all frames at once, up to rounding."""

    def __init__(self, layers: Sequence[Any], decode: Callable[[Tensor], Tensor]):
        """`decode` maps frames `[frames, channels]` to `[samples]`; `layers` are its convolutions in order.

        A number in `layers` stands for convolutions of equal rate that together reach so many positions to each side.
        """
        ups = [layer for layer in layers if isinstance(layer, nn.ConvTranspose1d)]
        self._decode = decode
        self.samples_per_frame = prod(up.stride[0] for up in ups)
        self.reach = _reach_through(layers, self.samples_per_frame)
        """Frames to each side that the audio of a frame depends on."""
        self.seamless = all(
            up.kernel_size[0] - up.stride[0] + up.output_padding[0] == int(up.padding[0]) * 2 for up in ups
        )
        """Whether every frame has the same number of samples; otherwise one window takes all frames."""

    def ends(self) -> Iterator[int]:
        """Yields the ends of windows in frames, without end."""
        end, width = 0, FIRST_FRAMES
        while True:
            end, width = end + width, min(width * 2, _MOST_FRAMES)
            yield end

    def sound(self, frames: Tensor, begin: int, end: int) -> Tensor:
        """Decodes frames `begin` to `end - 1` of `[frames, channels]` to `[samples]`.

        `frames` must hold `reach` more frames after `end`, unless it is complete.
        """
        first = max(begin - self.reach, 0)
        made = self._decode(frames[first : end + self.reach])
        if first == 0 and end >= len(frames):
            return made
        return made[(begin - first) * self.samples_per_frame : (end - first) * self.samples_per_frame]

    def pieces(self, frames: Tensor) -> Iterator[Tensor]:
        """Yields the audio of all frames, `[frames, channels]`, window by window."""
        return (piece for piece in self.follow([frames]) if piece is not None)

    def follow(self, growing: Iterable[Tensor]) -> Iterator[Tensor | None]:
        """Yields audio window by window while frames are still generated; None if no window is complete.

        `growing` yields all frames so far, each time more; at last all.
        """
        begin, ends, frames = 0, self.ends(), torch.empty(0)
        end = next(ends)
        for frames in growing:
            while self.seamless and len(frames) >= end + self.reach:
                yield self.sound(frames, begin, end)
                begin, end = end, next(ends)
            yield None
        while begin < len(frames):
            last = min(end, len(frames)) if self.seamless else len(frames)
            yield self.sound(frames, begin, last)
            begin, end = last, next(ends)


class WindowedVocoder(Windowed):
    """Windows for transformers' HiFi-GAN."""

    def __init__(self, vocoder: Any, decode: Callable[[Tensor], Tensor], *, more_reach: int = 0) -> None:
        """`more_reach` is how many frames to each side `decode` reads before the vocoder itself."""
        per_stage = len(vocoder.resblocks) // len(vocoder.upsampler)
        layers: list[Any] = [vocoder.conv_pre]
        for stage, up in enumerate(vocoder.upsampler):
            blocks = vocoder.resblocks[stage * per_stage : (stage + 1) * per_stage]
            layers += [up, max(sum(map(_radius, [*block.convs1, *block.convs2])) for block in blocks)]
        super().__init__([*layers, vocoder.conv_post], decode)
        self.reach += more_reach


class WindowedDac(Windowed):
    """Windows for transformers' DAC decoder, whose frames are codes."""

    def __init__(self, decoder: Any, decode: Callable[[Tensor], Tensor]) -> None:
        layers: list[Any] = [decoder.conv1]
        for block in decoder.block:
            layers += [block.conv_t1, *(unit.conv1 for unit in (block.res_unit1, block.res_unit2, block.res_unit3))]
        super().__init__([*layers, decoder.conv2], decode)

    @classmethod
    def of(cls, codec: Any) -> "WindowedDac":
        """Makes one for a DacModel."""
        return cls(codec.decoder, lambda part: codec.decode(audio_codes=part.T[None]).audio_values[0])


def _reach_through(layers: Sequence[Any], samples_per_frame: int) -> int:
    first, last = 0, samples_per_frame - 1  # samples of one frame, then the inputs they need, layer by layer
    for layer in reversed(layers):
        if isinstance(layer, nn.ConvTranspose1d):
            stride, padding, kernel = layer.stride[0], int(layer.padding[0]), layer.kernel_size[0]
            # Input i of a transposed convolution writes outputs from i * stride - padding on.
            first = ceil((first + padding - kernel + 1) / stride)
            last = floor((last + padding) / stride)
        else:
            radius = layer if isinstance(layer, int) else _radius(layer)
            first, last = first - radius, last + radius
    return max(-first, last)


def _radius(convolution: nn.Conv1d) -> int:
    return ceil(convolution.dilation[0] * (convolution.kernel_size[0] - 1) / 2)
