"""Validates the prompts of SegmentImage."""

import math
from collections.abc import Iterator, Sequence

from sensorium.errors import Violation
from services.engine.segmentation.prompt import Prompt


def wrong_prompts(prompts: Sequence[Prompt], most: int, size: tuple[int, int] | None) -> list[Violation]:
    """Returns the violations of the prompts. `size` is the image's height and width; None if it is not known."""
    if len(prompts) > most:
        return [Violation("prompts", f"must hold at most {most} items, not {len(prompts)}")]
    height, width = (math.inf, math.inf) if size is None else size
    wrong: list[Violation] = []
    for i, prompt in enumerate(prompts):
        path = f"prompts[{i}]"
        if not prompt.points and prompt.box is None:
            wrong.append(Violation(path, "must have at least one point or a box"))
        if len(prompt.points) > most:  # attention over points: time grows with the square of their number
            wrong.append(Violation(f"{path}.points", f"must hold at most {most} items, not {len(prompt.points)}"))
            continue
        for j, (x, y) in enumerate(prompt.points):
            wrong += _outside(f"{path}.points[{j}].x", x, width)
            wrong += _outside(f"{path}.points[{j}].y", y, height)
        if prompt.box is not None:
            wrong += _wrong_box(f"{path}.box", prompt.box, height, width)
    return wrong


def _outside(path: str, value: float, end: float) -> Iterator[Violation]:
    if not 0 <= value < end:
        yield Violation(path, f"must be in [0, {end}), not {value:g}")


def _wrong_box(path: str, box: tuple[float, float, float, float], height: float, width: float) -> Iterator[Violation]:
    for side, low, high, end in (("x", box[0], box[2], width), ("y", box[1], box[3], height)):
        if not 0 <= low <= end:
            yield Violation(f"{path}.{side}_min", f"must be in [0, {end}], not {low:g}")
        elif not low <= high <= end:
            yield Violation(f"{path}.{side}_max", f"must be in [{low:g}, {end}], not {high:g}")
        elif not high:
            yield Violation(f"{path}.{side}_max", "is required")
