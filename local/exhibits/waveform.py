"""Draws the loudness of a sound over time in a terminal."""

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

_COLUMNS = 30
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def waveform(samples: NDArray[np.float32]) -> Text:
    """Returns the RMS loudness of `samples` (shape [n]) as a symmetric band on two lines, scaled to the maximum."""
    parts = np.array_split(samples - samples.mean(), _COLUMNS)
    columns = [float(np.sqrt(np.square(part).mean())) if part.size else 0.0 for part in parts]
    loudest = max(*columns, 1e-6)
    heights = [round(8 * loud / loudest) for loud in columns]
    lines = Text(no_wrap=True)
    lines.append("".join(_EIGHTHS[height] for height in heights) + "\n", style="cyan")
    # There are no blocks that hang from the top, so the lower line draws the rest in reverse colours.
    lines.append("".join(_EIGHTHS[8 - height] for height in heights), style="cyan reverse")
    return lines
