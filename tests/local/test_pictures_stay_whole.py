import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image
from rich.console import Console

from local.exhibits import tour
from local.exhibits.exhibit import Exhibit, Shown
from local.exhibits.picture import BESIDE, picture
from local.fleet import fleet
from sensorium import Client


def test_two_pictures_in_a_terminal_of_80_columns_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """If lines wrapped, lines of the two pictures would alternate."""
    member = next(member for member in fleet() if member.name == "depth")

    def ask(client: Client, folder: Path, items: Any) -> Iterator[Shown]:
        both = picture(Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue"))
        yield Shown("held_out/00.png", "a depth map whose description is long enough for several lines", True, both)

    monkeypatch.setattr(tour, "EXHIBITS", {"depth": Exhibit("EstimateDepth", ask)})
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor", no_color=False)
    tour.tour(console, cast(Client, None), [member])
    lines = [line.count("▀") for line in cast(io.StringIO, console.file).getvalue().splitlines() if "▀" in line]
    assert lines == [2 * BESIDE] * (BESIDE // 2)
