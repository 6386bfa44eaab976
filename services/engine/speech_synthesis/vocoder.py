"""The last part of a model of speech, HiFi-GAN, taken in windows: sound leaves while the rest is still frames."""

from collections.abc import Callable, Iterator
from math import ceil, floor, prod
from typing import Any

from torch import Tensor, nn

FIRST_FRAMES = 32
"""Frames of the first window: about half a second."""
_MOST_FRAMES = 128
"""Frames of the later ones, of which each is twice as long as the last: an overlap costs less where it is rarer."""


class WindowedVocoder:
    """Makes sound of frames, piece by piece, as the whole would be made at once but for rounding."""

    def __init__(self, vocoder: Any, decode: Callable[[Tensor], Tensor], *, more_reach: int = 0) -> None:
        """Takes a HiFi-GAN of the library's, and what makes `[samples]` of `[frames, channels]` with it.

        `more_reach` is how many frames to each side `decode` looks at before the vocoder does.
        """
        self._decode = decode
        self.samples_per_frame = prod(up.stride[0] for up in vocoder.upsampler)
        self.reach = reach_of(vocoder) + more_reach
        """Frames to each side on which the sound of a frame depends."""
        self.seamless = all(
            (up.kernel_size[0] - up.stride[0]) % 2 == 0 and up.padding[0] * 2 == up.kernel_size[0] - up.stride[0]
            for up in vocoder.upsampler
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
        begin = 0
        for end in self.ends() if self.seamless else [len(frames)]:
            yield self.sound(frames, begin, min(end, len(frames)))
            if end >= len(frames):
                return
            begin = end


def reach_of(vocoder: Any) -> int:
    """Returns how many frames to each side the sound of one frame depends on."""
    per_stage = len(vocoder.resblocks) // len(vocoder.upsampler)
    first, last = 0, prod(up.stride[0] for up in vocoder.upsampler) - 1  # samples of one frame, then what they need
    first, last = first - _radius(vocoder.conv_post), last + _radius(vocoder.conv_post)
    for stage in reversed(range(len(vocoder.upsampler))):
        blocks = vocoder.resblocks[stage * per_stage : (stage + 1) * per_stage]
        radius = max(sum(map(_radius, [*block.convs1, *block.convs2])) for block in blocks)
        up = vocoder.upsampler[stage]
        stride, padding, kernel = up.stride[0], up.padding[0], up.kernel_size[0]
        # Input i of a transposed convolution reaches its outputs from i * stride - padding on.
        first = ceil((first - radius + padding - kernel + 1) / stride)
        last = floor((last + radius + padding) / stride)
    return max(-first, last) + _radius(vocoder.conv_pre)


def _radius(convolution: nn.Conv1d) -> int:
    return ceil(convolution.dilation[0] * (convolution.kernel_size[0] - 1) / 2)
