"""Builds an SVG picture from shapes and text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import cycle, islice

INK = "#24292e"
FAINT = "#6a737d"
GRID = "#e6e8eb"
COLOURS = {"green": "#3f9e44", "yellow": "#d9a514", "orange": "#e57c1f", "red": "#d1322f", "text": INK}
_PALETTE = (
    "#3f9e44", "#2f6fc7", "#d9a514", "#e57c1f", "#7b4fb0", "#1f9e9e", "#b0567d", "#6b7f2a", "#8a6d3b", "#d1322f",
)  # fmt: skip
CHARACTER = 0.56
"""Mean width of a character, relative to the font size."""


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture, in pixels. `y` grows downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        """The `y` of its lower edge."""
        return self.y + self.height

    @property
    def right(self) -> float:
        """The `x` of its right edge."""
        return self.x + self.width


@dataclass
class Canvas:
    """A picture to which elements are added."""

    parts: list[str] = field(default_factory=list[str])

    def rectangle(self, box: Box, fill: str, edge: str = "none", radius: float = 0) -> None:
        """Draws a rectangle."""
        self.parts.append(
            f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{max(box.width, 0):.1f}" height="{max(box.height, 0):.1f}" '
            f'fill="{fill}" stroke="{edge}" rx="{radius:g}"/>'
        )

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: str, dashes: str = "") -> None:
        """Draws a straight line."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.parts.append(
            f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
            f'stroke="{colour}"{dashed}/>'
        )

    def path(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """Draws a line through the points."""
        self.parts.append(f'<polyline points="{_joined(points)}" fill="none" stroke="{colour}" stroke-width="1.3"/>')

    def area(self, points: Sequence[tuple[float, float]], colour: str, opacity: float) -> None:
        """Fills the polygon of the points."""
        self.parts.append(f'<polygon points="{_joined(points)}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 11,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Writes words with their baseline at `y`."""
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}"{weight}>'
            f"{escape(words)}</text>"
        )

    def whole(self, width: float, height: float) -> str:
        """Returns the picture as an SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family="Inter, Helvetica, Arial, sans-serif">'
        )
        return "\n".join([head, *self.parts, "</svg>"]) + "\n"


def palette(count: int) -> Iterator[str]:
    """Yields `count` colours, for as many series."""
    return islice(cycle(_PALETTE), count)


def fitted(words: str, width: float, size: float) -> str:
    """Returns the words, shortened if they are wider than `width` pixels at font size `size`."""
    room = max(int(width / (size * CHARACTER)), 1)
    return words if len(words) <= room else words[: room - 1] + "…"


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
