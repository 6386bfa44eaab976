"""The last part of a model of speech, taken in windows: sound leaves while the rest is still frames."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil, floor, prod
from typing import Any

import torch
from torch import Tensor, nn

FIRST_FRAMES = 32
"""Frames of the first window: about half a second."""
_MOST_FRAMES = 128
"""Frames of the later ones, of which each is twice as long as the last: an overlap costs less where it is rarer."""


class Windowed:
    """Makes sound of frames, piece by piece, as the whole would be made at once but for rounding."""

    def __init__(self, layers: Sequence[Any], decode: Callable[[Tensor], Tensor]):
        """Takes what makes `[samples]` of `[frames, channels]`, and its convolutions, from frames to samples.

        A number stands for several of one rate that look as far to each side.
        """
        ups = [layer for layer in layers if isinstance(layer, nn.ConvTranspose1d)]
        self._decode = decode
        self.samples_per_frame = prod(up.stride[0] for up in ups)
        self.reach = _reach_through(layers, self.samples_per_frame)
        """Frames to each side on which the sound of a frame depends."""
        self.seamless = all(
            up.kernel_size[0] - up.stride[0] + up.output_padding[0] == int(up.padding[0]) * 2 for up in ups
        )
        """Whether every frame has equally many samples; otherwise there is one window."""

    def ends(self) -> Iterator[int]:
        """Yields where windows end, in frames and for ever."""
        end, width = 0, FIRST_FRAMES
        while True:
            end, width = end + width, min(width * 2, _MOST_FRAMES)
            yield end

    def sound(self, frames: Tensor, begin: int, end: int) -> Tensor:
        """Returns the sound of frames `begin` to `end` of `[frames, channels]`, `[samples]`.

        There must be `reach` more frames behind `end`, unless the last of them is the last of all.
        """
        first = max(begin - self.reach, 0)
        made = self._decode(frames[first : end + self.reach])
        if first == 0 and end >= len(frames):
            return made
        return made[(begin - first) * self.samples_per_frame : (end - first) * self.samples_per_frame]

    def pieces(self, frames: Tensor) -> Iterator[Tensor]:
        """Yields the sound of all frames, `[frames, channels]`, window by window."""
        return (piece for piece in self.follow([frames]) if piece is not None)

    def follow(self, growing: Iterable[Tensor]) -> Iterator[Tensor | None]:
        """Yields the sound of frames that become more, window by window, and None where there is none yet.

        `growing` has all of them so far each time, at last all.
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
    """A HiFi-GAN of the library's."""

    def __init__(self, vocoder: Any, decode: Callable[[Tensor], Tensor], *, more_reach: int = 0) -> None:
        """`more_reach` is how many frames to each side `decode` looks at before the vocoder does."""
        per_stage = len(vocoder.resblocks) // len(vocoder.upsampler)
        layers: list[Any] = [vocoder.conv_pre]
        for stage, up in enumerate(vocoder.upsampler):
            blocks = vocoder.resblocks[stage * per_stage : (stage + 1) * per_stage]
            layers += [up, max(sum(map(_radius, [*block.convs1, *block.convs2])) for block in blocks)]
        super().__init__([*layers, vocoder.conv_post], decode)
        self.reach += more_reach


class WindowedDac(Windowed):
    """The decoder of a DAC of the library's, whose frames are of codes."""

    def __init__(self, decoder: Any, decode: Callable[[Tensor], Tensor]) -> None:
        layers: list[Any] = [decoder.conv1]
        for block in decoder.block:
            layers += [block.conv_t1, *(unit.conv1 for unit in (block.res_unit1, block.res_unit2, block.res_unit3))]
        super().__init__([*layers, decoder.conv2], decode)

    @classmethod
    def of(cls, codec: Any) -> "WindowedDac":
        """Takes a DacModel."""
        return cls(codec.decoder, lambda part: codec.decode(audio_codes=part.T[None]).audio_values[0])


def _reach_through(layers: Sequence[Any], samples_per_frame: int) -> int:
    first, last = 0, samples_per_frame - 1  # samples of one frame, then what they need of each layer's inputs
    for layer in reversed(layers):
        if isinstance(layer, nn.ConvTranspose1d):
            stride, padding, kernel = layer.stride[0], int(layer.padding[0]), layer.kernel_size[0]
            # Input i of a transposed convolution reaches its outputs from i * stride - padding on.
            first = ceil((first + padding - kernel + 1) / stride)
            last = floor((last + padding) / stride)
        else:
            radius = layer if isinstance(layer, int) else _radius(layer)
            first, last = first - radius, last + radius
    return max(-first, last)


def _radius(convolution: nn.Conv1d) -> int:
    return ceil(convolution.dilation[0] * (convolution.kernel_size[0] - 1) / 2)
