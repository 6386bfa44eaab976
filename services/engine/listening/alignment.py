"""Token times from cross-attention, by dynamic time warping as in Whisper."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from torch import Tensor, stack

Matrix = NDArray[np.float64]


def token_times(attention: Sequence[Tensor], opening: int, frames: int, width: int) -> list[float]:
    """Returns the frame at which each token after the opening begins.

    Args:
        attention: weights of each alignment head, `[tokens, frames of the window]`.
        opening: number of leading tokens that are not part of the transcript.
        frames: number of frames that hold audio, at least 1.
        width: width of the median filter over frames.
    """
    looks = stack(list(attention))[:, opening:, :frames].double().numpy()
    spread = looks.std(axis=1, keepdims=True)
    # Frames with equal weights for all tokens, as with a single token, carry no information.
    looks = np.divide(looks - looks.mean(axis=1, keepdims=True), spread, out=np.zeros_like(looks), where=spread > 0)
    if frames > width // 2:
        looks = median_filter(looks, size=(1, 1, width), mode="mirror")
    return _first_frames(-looks.mean(axis=0))


def _first_frames(costs: Matrix) -> list[float]:
    """Returns the first frame of each token on the cheapest monotonic path through `costs` `[tokens, frames]`."""
    tokens, frames = costs.shape
    steps = _cheapest_steps(costs)
    token, frame = tokens - 1, frames - 1
    firsts = [0.0] * tokens
    while token > 0 or frame > 0:
        firsts[token] = float(frame)
        step = steps[token, frame]
        token -= step != _FRAME
        frame -= step != _TOKEN
    firsts[0] = 0.0
    return firsts


_BOTH, _TOKEN, _FRAME = 0, 1, 2
"""Steps of a path: to the next token and frame, to the next token, to the next frame."""


def _cheapest_steps(costs: Matrix) -> NDArray[np.int8]:
    """Returns the step by which each cell is reached, `[tokens, frames]`; ties go to the next frame.

    Computes whole diagonals at once, since their cells do not depend on each other.
    """
    tokens, frames = costs.shape
    total = np.full((tokens + 1, frames + 1), np.inf)
    total[0, 0] = 0.0
    steps = np.full((tokens, frames), _FRAME, dtype=np.int8)
    for diagonal in range(tokens + frames - 1):
        i = np.arange(max(0, diagonal - frames + 1), min(tokens, diagonal + 1))
        j = diagonal - i
        both, token, frame = total[i, j], total[i, j + 1], total[i + 1, j]
        step = np.where(
            (both < token) & (both < frame), _BOTH, np.where((token < both) & (token < frame), _TOKEN, _FRAME)
        )
        total[i + 1, j + 1] = costs[i, j] + np.choose(step, (both, token, frame))
        steps[i, j] = step
    steps[0, :] = _FRAME
    steps[1:, 0] = _TOKEN
    return steps
