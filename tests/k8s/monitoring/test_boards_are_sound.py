import json
import re
from typing import Any

import pytest

from k8s.monitoring.board import WIDTH, Board
from k8s.monitoring.boards import BOARDS
from k8s.monitoring.files import FOLDER

each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)

UNITS = {
    "short", "count:tok/s", "count:img/s", "reqps", "ops", "cps", "s", "percent", "percentunit", "bytes", "decmbytes",
    "watt", "celsius",
}  # fmt: skip
"""Those of Grafana that are used; a misspelt one would be shown behind each number."""


def document(board: Board) -> dict[str, Any]:
    return json.loads((FOLDER / f"dashboards/{board.name}.json").read_text())


def panels(board: Board) -> list[dict[str, Any]]:
    return document(board)["panels"]


@each_board
def test_panels_have_numbers_of_their_own_and_do_not_overlap(board: Board) -> None:
    taken: dict[tuple[int, int], str] = {}
    assert len({panel["id"] for panel in panels(board)}) == len(panels(board))
    for panel in panels(board):
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["h"] > 0
        assert 0 <= place["x"] <= place["x"] + place["w"] <= WIDTH
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


@each_board
def test_panels_say_what_they_show_in_which_unit_from_the_datasource_chosen(board: Board) -> None:
    for panel in panels(board):
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


@each_board
def test_every_variable_is_used_and_every_used_one_is_there(board: Board) -> None:
    text = "\n".join(target["expr"] for panel in panels(board) for target in panel.get("targets", ()))
    used = set(re.findall(r"\$(\w+)", text)) - {"__rate_interval"}
    assert used == {variable["name"] for variable in document(board)["templating"]["list"]} - {"datasource"}


def test_boards_have_addresses_of_their_own() -> None:
    uids = [document(board)["uid"] for board in BOARDS]
    assert len(set(uids)) == len(uids) == 3
    assert all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in uids)


@each_board
def test_titles_of_a_row_are_told_apart(board: Board) -> None:
    for row in board.rows:
        assert len({panel.title for panel in row.panels}) == len(row.panels)
