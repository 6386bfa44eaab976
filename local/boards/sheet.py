"""Draws a whole board as one SVG."""

from collections.abc import Callable, Sequence

from k8s.monitoring.board import Board
from k8s.monitoring.panel import Panel
from local.boards import single, timeseries
from local.boards.answer import Line, Span
from local.boards.canvas import FAINT, INK, Box, Canvas, fitted

_COLUMN = 52.0
_LINE = 27.0
_MARGIN = 6.0
_HEAD = 46.0
_TITLE = 24.0


def sheet(board: Board, answered: Callable[[Panel], Sequence[Line]], span: Span) -> str:
    """Returns the board as SVG. `answered` returns the series of a panel."""
    canvas = Canvas()
    placed = list(board.placed())
    width = _COLUMN * 24 + _MARGIN
    height = _HEAD + _LINE * max(place.y + place.height for place in placed) + _MARGIN
    canvas.rectangle(Box(0, 0, width, height), "#f4f5f7")
    canvas.text(_MARGIN + 4, 22, board.title, 16, INK, bold=True)
    canvas.text(_MARGIN + 4, 38, board.description, 11, FAINT)
    for place in placed:
        box = Box(
            place.x * _COLUMN + _MARGIN,
            _HEAD + place.y * _LINE + _MARGIN,
            place.width * _COLUMN - _MARGIN,
            place.height * _LINE - _MARGIN,
        )
        if isinstance(place.what, Panel):
            _panel(canvas, box, place.what, answered(place.what), span)
        else:
            canvas.text(box.x + 4, box.bottom - 4, place.what, 13, INK, bold=True)
    return canvas.whole(width, height)


def _panel(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line], span: Span) -> None:
    canvas.rectangle(box, "#ffffff", "#d8dadd", radius=3)
    canvas.parts.append("<g>")
    canvas.parts.append(f"<title>{_escaped(panel.description)}</title>")
    canvas.text(box.x + 8, box.y + 16, fitted(panel.title, box.width - 16, 11.5), 11.5, INK, bold=True)
    inner = Box(box.x, box.y + _TITLE, box.width, box.height - _TITLE - 4)
    if not lines:
        canvas.text(box.x + box.width / 2, box.y + box.height / 2 + 8, "No data", 12, FAINT, "middle")
    elif panel.kind == "timeseries":
        timeseries.draw(canvas, inner, panel, lines, span)
    elif panel.kind == "stat":
        single.figures(canvas, inner, panel, lines)
    else:
        single.bars(canvas, inner, panel, lines)
    canvas.parts.append("</g>")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
