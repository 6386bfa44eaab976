"""Draws panels that show newest values, as large numbers or as bars."""

from collections.abc import Sequence

from k8s.monitoring.panel import Panel
from local.boards.answer import Line
from local.boards.canvas import COLOURS, FAINT, GRID, Box, Canvas, fitted
from local.boards.figure import figure

_BAR_HEIGHT = 14.0
_LEAST_PITCH = 12.0
_NAME_SHARE = 0.42


def figures(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line]) -> None:
    """Writes the values side by side, as large as they fit. If there are several, each has its name below."""
    width = box.width / len(lines)
    several = len(lines) > 1
    for place, line in enumerate(lines):
        words = figure(line.value, panel.unit)
        size = min(30.0, 1.5 * width / max(len(words), 1), box.height * 0.55)
        middle = box.x + (place + 0.5) * width
        level = box.y + box.height / 2 + size / 3 - (8 if several else 0)
        canvas.text(middle, level, words, size, COLOURS[panel.colour(line.value)], "middle", bold=True)
        if several:
            canvas.text(middle, box.bottom - 8, line.name, 10, FAINT, "middle")


def bars(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line]) -> None:
    """Draws a bar for each value, as many as fit, and the number of those left out."""
    pitch = max(min(_BAR_HEIGHT + 6, box.height / len(lines)), _LEAST_PITCH)
    thick = min(_BAR_HEIGHT, pitch - 3)
    room = max(int(box.height / pitch), 1)
    names = box.width * _NAME_SHARE
    left, most = box.x + names, box.width - names - 64
    low = panel.lowest or 0.0
    high = panel.highest if panel.highest is not None else max(line.value for line in lines)
    for place, line in enumerate(lines[:room]):
        top = box.y + place * pitch
        level = top + thick / 2 + 3.5  # centres the text on the bar
        share = 0.0 if high <= low else min(max((line.value - low) / (high - low), 0), 1)
        colour = COLOURS[panel.colour(line.value)]
        canvas.text(left - 6, level, fitted(line.name, names - 12, 10), 10, anchor="end")
        canvas.rectangle(Box(left, top, most, thick), GRID)
        canvas.rectangle(Box(left, top, most * share, thick), colour)
        canvas.text(left + most + 6, level, figure(line.value, panel.unit), 10, colour, bold=True)
    if len(lines) > room:
        canvas.text(box.right, box.bottom - 1, f"+{len(lines) - room}", 10, FAINT, "end")
