"""Draws panels that show values over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from k8s.monitoring.panel import Panel
from local.boards.answer import Line, Span
from local.boards.canvas import CHARACTER, COLOURS, FAINT, GRID, Box, Canvas, fitted, palette
from local.boards.figure import figure

_SMALL = 9.5
_LEFT = 62.0
_LEGEND_LINE = 13.0
_LEGEND_LINES = 2
_TICKS = 4
_GAP_STEPS = 2.5
"""A line is interrupted if consecutive points are further apart than this many steps."""


@dataclass(frozen=True)
class Axes:
    """Maps times and values to pixels."""

    plot: Box
    span: Span
    low: float
    high: float

    def x(self, moment: float) -> float:
        """Returns the `x` of a Unix time."""
        return self.plot.x + (moment - self.span.start) / (self.span.end - self.span.start) * self.plot.width

    def y(self, value: float) -> float:
        """Returns the `y` of a value, clamped to the plot."""
        share = (value - self.low) / (self.high - self.low)
        return self.plot.bottom - min(max(share, 0), 1) * self.plot.height


def draw(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line], span: Span) -> None:
    """Draws lines or stacked areas, with axes, thresholds and a legend."""
    legend = min(_legend_lines(lines, box.width), _LEGEND_LINES) * _LEGEND_LINE
    plot = Box(box.x + _LEFT, box.y + 4, box.width - _LEFT - 8, box.height - 22 - legend)
    shown = stacked(lines) if panel.stacked else [[value for _, value in line.points] for line in lines]
    axes = Axes(plot, span, *_range(panel, shown))
    _grid(canvas, axes, panel.unit)
    for colour, line, values in zip(palette(len(lines)), lines, shown, strict=True):
        points = [(axes.x(moment), axes.y(value)) for (moment, _), value in zip(line.points, values, strict=True)]
        if panel.stacked:
            floor = [(axes.x(at), axes.y(top - value)) for (at, value), top in zip(line.points, values, strict=True)]
            canvas.area([*points, *reversed(floor)], colour, 0.3)
        for part in _parts(points, axes.x(span.start + _GAP_STEPS * span.step) - plot.x):
            canvas.path(part, colour)
    for step in panel.steps:
        if axes.low < step.value < axes.high:
            level = axes.y(step.value)
            canvas.line((plot.x, level), (plot.right, level), COLOURS[step.colour], "5 4")
    _legend(canvas, Box(box.x + 8, box.bottom - legend, box.width - 16, legend), lines)


def stacked(lines: Sequence[Line]) -> list[list[float]]:
    """Returns for each line its values plus those of all lines before it at the same time."""
    tops: dict[float, float] = {}
    result: list[list[float]] = []
    for line in lines:
        for moment, value in line.points:
            tops[moment] = tops.get(moment, 0.0) + value
        result.append([tops[moment] for moment, _ in line.points])
    return result


def ticks(low: float, high: float) -> list[float]:
    """Returns about five round values, from at most `low` to at least `high`."""
    raw = (high - low) / _TICKS
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    return [step * (first + place) for place in range(math.ceil((high - first * step) / step - 1e-9) + 1)]


def _range(panel: Panel, shown: Sequence[Sequence[float]]) -> tuple[float, float]:
    values = [value for line in shown for value in line]
    low = min(values) if panel.lowest is None else panel.lowest
    high = panel.highest if panel.highest is not None else max(*values, low)
    if high <= low:
        high = low + 1
    marks = ticks(low, high)
    return low, high if panel.highest is not None else marks[-1]


def _grid(canvas: Canvas, axes: Axes, unit: str) -> None:
    plot, span = axes.plot, axes.span
    for value in ticks(axes.low, axes.high):
        if value <= axes.high * (1 + 1e-9):
            level = axes.y(value)
            canvas.line((plot.x, level), (plot.right, level), GRID)
            canvas.text(plot.x - 5, level + 3, figure(value, unit), _SMALL, FAINT, "end")
    length = span.end - span.start
    for seconds in (mark for mark in ticks(0, length) if mark <= length):
        anchor = "end" if seconds > 0.95 * length else "middle"
        canvas.text(axes.x(span.start + seconds), plot.bottom + 12, f"{seconds:g} s", _SMALL, FAINT, anchor)


def _parts(points: Sequence[tuple[float, float]], widest: float) -> list[list[tuple[float, float]]]:
    """Splits a line where points are more than `widest` pixels apart."""
    parts: list[list[tuple[float, float]]] = []
    for point in points:
        if not parts or point[0] - parts[-1][-1][0] > widest:
            parts.append([])
        parts[-1].append(point)
    return parts


def _width(name: str) -> float:
    capitals = sum(map(str.isupper, name))
    return (len(name) + capitals / 4) * _SMALL * CHARACTER + 26


def _legend_lines(lines: Sequence[Line], width: float) -> int:
    return math.ceil(sum(_width(line.name) for line in lines) / max(width - 40, 1))


def _legend(canvas: Canvas, box: Box, lines: Sequence[Line]) -> None:
    x, y = box.x, box.y + 6
    for place, (colour, line) in enumerate(zip(palette(len(lines)), lines, strict=True)):
        if x + _width(line.name) > box.right and x > box.x:
            x, y = box.x, y + _LEGEND_LINE
        if y > box.bottom:
            canvas.text(box.right, y - _LEGEND_LINE + 3, f"+{len(lines) - place}", _SMALL, FAINT, "end")
            return
        canvas.line((x, y), (x + 10, y), colour)
        canvas.text(x + 13, y + 3, fitted(line.name, box.right - x - 13, _SMALL), _SMALL)
        x += _width(line.name)
