import xml.etree.ElementTree as ElementTree

import pytest

from k8s.monitoring.board import Board, Row
from k8s.monitoring.panel import Kind, Panel, Query, Step
from local.boards.answer import Line, Span
from local.boards.figure import figure
from local.boards.sheet import sheet
from local.boards.timeseries import stacked, ticks

SPAN = Span(start=100, end=160, step=1, interval=5)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (0.0000042, "s", "4.2 µs"),
        (90, "s", "90 s"),
        (600, "s", "10 min"),
        (0.995, "percentunit", "99.5 %"),
        (1234, "short", "1.23 k"),
        (20, "reqps", "20 req/s"),
        (1234, "count:tok/s", "1.23 k tok/s"),
        (3 * 2**30, "bytes", "3 GiB"),
        (40_000, "decmbytes", "40 GB"),
        (0, "short", "0"),
    ],
)
def test_figures_are_short_and_have_units(value: float, unit: str, text: str) -> None:
    assert figure(value, unit) == text


def test_ticks_are_round_and_reach_the_top() -> None:
    assert ticks(0, 37) == [0, 10, 20, 30, 40]
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(0, 0.0049)[-1] == pytest.approx(0.006)


def test_stacked_values_are_sums_at_each_time() -> None:
    lines = [Line("a", [(1, 2.0), (2, 3.0)]), Line("b", [(2, 4.0), (3, 5.0)])]
    assert stacked(lines) == [[2, 3], [7, 5]]


def panel(kind: Kind, **changes: object) -> Panel:
    return Panel(title=f"Of {kind}", description="Escapes <all> & more.", queries=[Query("x")], kind=kind, **changes)  # type: ignore[arg-type]


def drawn(shown: Panel, lines: list[Line]) -> ElementTree.Element:
    board = Board(name="b", title="B", description="Of one panel.", variables=[], rows=[Row("R", [shown])])
    return ElementTree.fromstring(sheet(board, lambda _: lines, SPAN))


def texts(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_a_line_is_interrupted_where_points_are_missing() -> None:
    line = Line("a", [(100, 1.0), (101, 1.0), (120, 1.0), (121, 1.0)])
    picture = drawn(panel("timeseries"), [line])
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}polyline"))) == 2


def test_an_area_begins_with_its_series() -> None:
    lines = [Line("a", [(130, 1.0), (160, 1.0)]), Line("b", [(150, 1.0), (160, 1.0)])]
    picture = drawn(panel("timeseries", stacked=True), lines)
    areas = [
        [float(point.split(",")[0]) for point in (area.get("points") or "").split()]
        for area in picture.iter("{http://www.w3.org/2000/svg}polygon")
    ]
    (left, right), (later, last) = ((min(area), max(area)) for area in areas)
    assert last == right
    assert later == pytest.approx(left + (right - left) * 2 / 3, abs=0.1)


def test_a_threshold_within_the_plot_is_a_line() -> None:
    line = Line("a", [(100, 1.0), (160, 3.0)])
    for value, lines in ((2.0, 1), (20.0, 0)):
        picture = drawn(panel("timeseries", steps=[Step(value, "red")]), [line])
        dashed = [each for each in picture.iter("{http://www.w3.org/2000/svg}line") if each.get("stroke-dasharray")]
        assert len(dashed) == lines


@pytest.mark.parametrize(("value", "colour"), [(0.5, "#d1322f"), (0.97, "#e57c1f"), (0.999, "#3f9e44")])
def test_a_figure_has_the_colour_of_the_step_it_reached(value: float, colour: str) -> None:
    shown = panel("stat", unit="percentunit", base="red", steps=[Step(0.9, "orange"), Step(0.99, "green")])
    picture = drawn(shown, [Line("a", [(160, value)])])
    (found,) = (text for text in picture.iter("{http://www.w3.org/2000/svg}text") if (text.text or "").endswith(" %"))
    assert found.get("fill") == colour


def test_bars_that_do_not_fit_are_counted() -> None:
    lines = [Line(f"model-{place}", [(160, place)]) for place in range(40)]
    shown = texts(drawn(panel("bargauge"), lines))
    left = [text for text in shown if text.startswith("+")]
    assert len(left) == 1
    assert sum(text.startswith("model-") for text in shown) + int(left[0][1:]) == 40


def test_bars_of_many_are_as_thick_as_their_names() -> None:
    picture = drawn(panel("bargauge"), [Line(f"model-{place}", [(160, place)]) for place in range(40)])
    heights = [float(bar.get("height", "0")) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert min(heights) >= 9


def test_a_name_in_capitals_takes_more_of_the_legend() -> None:
    def second(name: str) -> float:
        picture = drawn(panel("timeseries"), [Line(name, [(100, 1.0)]), Line("z", [(100, 1.0)])])
        (found,) = (each for each in picture.iter("{http://www.w3.org/2000/svg}text") if each.text == "z")
        return float(found.get("x", "0"))

    assert second("DEADLINE_EXCEEDED") > second("deadline_exceeded")


def test_an_empty_panel_says_no_data() -> None:
    assert "No data" in texts(drawn(panel("timeseries"), []))
