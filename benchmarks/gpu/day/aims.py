"""The aims for generation on a GPU, with the measured figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SHAPES = ("1B", "8B")
_CONTEXT = 1024
_OF_ROOFLINE = {1: 0.8, 32: 0.7, 128: 0.6}
_TOGETHER, _TIMES_CONTINUOUS = 32, 3.0
_OF_PRODUCT, _SERVED, _IDLE = 0.6, 0.97, 0.03


@dataclass(frozen=True)
class Aim:
    """One aim, with a figure for each shape."""

    name: str
    aim: float
    figures: list[float | None]
    """In the order of SHAPES; None if not measured."""
    unit: str = "%"
    most: bool = False
    """Whether the aim is an upper limit."""

    def cells(self) -> list[str]:
        """Returns a row of a Markdown table; missed aims are bold."""
        return [self.name, f"{'≤' if self.most else '≥'} {self._told(self.aim)}", *map(self._cell, self.figures)]

    def _cell(self, figure: float | None) -> str:
        if figure is None or figure != figure:  # not a number
            return "–"
        missed = figure > self.aim if self.most else figure < self.aim
        return f"**{self._told(figure)}**" if missed else self._told(figure)

    def _told(self, value: float) -> str:
        return f"{100 * value:.3g} %" if self.unit == "%" else f"{value:.3g} {self.unit}"


def aims(figures: Mapping[str, Any]) -> list[Aim]:
    """Returns all aims; `figures` are the results of parts by name."""
    return list(_aims(figures))


def _aims(figures: Mapping[str, Any]) -> Iterator[Aim]:
    lines = [_lines(figures.get(shape)) for shape in SHAPES]
    for rows, aim in _OF_ROOFLINE.items():
        named = f"{rows} {'row' if rows == 1 else 'rows'} at 1K, of what memory allows"
        yield Aim(
            f"{named}: engine", aim, [_of(own.get(rows), "together_decode", "together_roofline") for own in lines]
        )
        yield Aim(f"{named}: recorded step alone", aim, [_alone(own.get(rows), "decoding") for own in lines])
    continuous = [_of(own.get(_TOGETHER), "together_decode", "continuous_decode") for own in lines]
    yield Aim("32 rows, of transformers' continuous batching", _TIMES_CONTINUOUS, continuous, "times")
    reading = "one prompt of 1,024 tokens, of what products allow"
    yield Aim(reading, _OF_PRODUCT, [own[1].get("prompt_share") if 1 in own else None for own in lines])
    yield Aim(f"{reading}: recorded step alone", _OF_PRODUCT, [_alone(own.get(1), "reading") for own in lines])
    served = [(figures.get(f"{shape}, served") or {}).get("share") for shape in SHAPES]
    yield Aim("served, of the engine in process", _SERVED, served)
    idle = [max((line["idle_share"] for line in own.values()), default=None) for own in lines]
    yield Aim("the GPU's idle time between steps, the most of these rows", _IDLE, idle, most=True)


def _lines(figures: Any) -> dict[int, Any]:
    """Returns the results at the context of the aims, by number of rows."""
    found = figures["lines"] if figures else []
    return {line["batch"]: line for line in found if line["context"] == _CONTEXT}


def _of(line: Any, value: str, other: str) -> float | None:
    return line[value] / line[other] if line and line[value] and line[other] else None


def _alone(line: Any, kind: str) -> float | None:
    found = [step["allowed"] / step["least"] for step in line["alone"] if step["kind"] == kind] if line else []
    return found[0] if found else None
