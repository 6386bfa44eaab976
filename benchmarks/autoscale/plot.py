"""Draws a day as SVG, without a library: request rate, number of replicas, and queueing time."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, GAP, TOP = 960, 150, 64, 46, 34
COLOURS = ("#2563eb", "#d97706", "#6b7280", "#059669")


@dataclass(frozen=True)
class Line:
    """One line of a panel: values at evenly spaced times over the panel's hours."""

    name: str
    values: Sequence[float]
    colour: str


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    lines: tuple[Line, ...]


def svg(title: str, panels: Sequence[Panel], hours: float) -> str:
    """Returns the SVG: the panels one below the other, over the same hours."""
    height = TOP + len(panels) * (HEIGHT + GAP)
    drawn = [_panel(panel, TOP + number * (HEIGHT + GAP) + 20, hours) for number, panel in enumerate(panels)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height + 10}"'
            ' font-family="sans-serif" font-size="12" fill="#374151">',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, top: float, hours: float) -> str:
    most = max(max(line.values, default=0.0) for line in panel.lines) or 1.0
    bottom = top + HEIGHT
    parts = [f'<text x="{LEFT}" y="{top - 6}" font-weight="bold">{escape(panel.title)}</text>', *_legend(panel, top)]
    for share in (0, 0.5, 1):
        y = bottom - share * HEIGHT
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{most * share:.3g}</text>')
    for hour in range(0, int(hours) + 1, max(int(hours) // 12, 1)):
        x = LEFT + WIDTH * hour / hours
        parts.append(f'<text x="{x:.0f}" y="{bottom + 15}" text-anchor="middle">{hour}</text>')
    parts += [_polyline(line, bottom, most) for line in panel.lines]
    return "\n".join(parts)


def _legend(panel: Panel, top: float) -> list[str]:
    """Draws the names of the lines, from right to left."""
    parts, x = [], LEFT + WIDTH
    if len(panel.lines) > 1:
        for line in reversed(panel.lines):
            style = f'text-anchor="end" fill="{line.colour}"'
            parts.append(f'<text x="{x}" y="{top - 6}" {style}>{escape(line.name)}</text>')
            x -= 7 * len(line.name) + 18
    return parts


def _polyline(line: Line, bottom: float, most: float) -> str:
    step = WIDTH / max(len(line.values) - 1, 1)
    points = (f"{LEFT + i * step:.1f},{bottom - value / most * HEIGHT:.1f}" for i, value in enumerate(line.values))
    return f'<polyline fill="none" stroke="{line.colour}" stroke-width="1.5" points="{" ".join(points)}"/>'
