"""The page about a day: aims and figures, and tests that failed or did not end."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")
from benchmarks.gpu.alone import Alone
from benchmarks.gpu.ceilings import Ceilings
from benchmarks.gpu.day.course import Outcome
from benchmarks.gpu.day.summary import page
from benchmarks.gpu.kernels import KernelTime
from benchmarks.gpu.report import AskedLine, Line

TESTS = """
import os
def test_that_passes(): pass
def test_that_fails(): assert "what it " + "said" == ""
def test_that_ends_all(): os._exit(3)
"""


def line(rows: int, decode: float, alone: float) -> Line:
    """Returns the results of an engine with a roofline of 1,000 tokens a second, and steps with a roofline of a
    millisecond.
    """
    kernels = [
        KernelTime("qkv", "multiply_rows", 16, 4.0, 5.0, 2.5),
        KernelTime("", "find_likeliest", 1, 20.0, 20.0, 0),
    ]
    steps = [
        Alone("decoding", rows, 1, 1024, 0.001 / alone, 0.002, 0.001, kernels=kernels),
        Alone("reading", rows, 1024, 0, 0.002, 0.002, 0.001),
    ]
    asked = [AskedLine("penalties of one", decode / 2, 1000.0, float("nan"))]
    continuous = 100.0 if rows == 32 else 0.0
    return Line(
        "1B", rows, 1024, decode, 1000.0, decode, 1000.0, 0.001, 0.0, continuous, 5e4, 0.0, 0.55, steps, asked
    )  # fmt: skip


def figures(*lines: Line) -> dict[str, Any]:
    ceilings = asdict(Ceilings(4.1e12, 7.5e14))
    return {
        "ceilings": ceilings,
        "lines": [*map(asdict, lines)],
        "notes": {"1B": "fast"},
        "failures": ["8 at 1024: no"],
    }


def test_aims_stand_beside_figures_and_what_is_missed_is_bold(tmp_path: Path) -> None:
    outcomes = [
        Outcome("1B", ["python"], 100.0, "cut off", 100.0, figures(line(1, 790, 0.81), line(32, 720, 0.69)), "the end"),
        Outcome("1B, served", ["python"], 60.0, "done", 30.0, {"share": 0.982}),
        Outcome("experts", ["python"], 40.0, "done", 20.0, None, "a table"),
    ]
    told = page(outcomes, tmp_path / "none")
    for expected in (
        "| 1 row at 1K, of what memory allows: engine | ≥ 80 % | **79 %** | – |",
        "| 1 row at 1K, of what memory allows: recorded step alone | ≥ 80 % | 81 % | – |",
        "| 32 rows at 1K, of what memory allows: recorded step alone | ≥ 70 % | **69 %** | – |",
        "| 128 rows at 1K, of what memory allows: engine | ≥ 60 % | – | – |",
        "| 32 rows, of transformers' continuous batching | ≥ 3 times | 7.2 times | – |",
        "| one prompt of 1,024 tokens, of what products allow: recorded step alone | ≥ 60 % | **50 %** | – |",
        "| served, of the engine in process | ≥ 97 % | 98.2 % | – |",
        "| the GPU's idle time between steps, the most of these rows | ≤ 3 % | 0.1 % | – |",
        "a copy moves 4.10 TB/s, a product does 750 TFLOP/s",
        "| 32 at 1024, penalties of one | 360 | 50% | – | – |",
        "| `multiply_rows` | qkv | 16 | 4.0 | 5.0 | 80% | 2.5 | 50% |",
        "- failed: 8 at 1024: no",
        "**1B**, cut off:\n\n```\nthe end",
        "**experts**, done:\n\n```\na table",
    ):
        assert expected in told
    assert page([], tmp_path / "none")  # where it was ended at once


def test_failures_are_told_of_tests_that_were_cut_off(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    outcomes = tmp_path / "tests.jsonl"
    plugin = ("-p", "benchmarks.gpu.day.outcomes", "--outcomes", str(outcomes), "--outcomes-of", "tests")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
        *plugin,
    ]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 3, ended.stderr
    told = page([], outcomes)
    assert "**Tests**: 1 passed, 0 skipped\n- did not end: `test_it.py::test_that_ends_all`" in told
    assert "- failed: `test_it.py::test_that_fails`" in told
    assert "what it said" in told
