"""The kernels as a real model launches them, compiled for an H100, whose compiler refuses more than the interpreter."""

import json
import os
import random
import subprocess
import sys
from typing import Any

import pytest

from tests.drawn import all_run

pytest.importorskip("triton")
STEPS = ("--model", "qwen3_moe", "--weights", "fp8_e4m3", "--rows", "1", "--tokens", "32")
RACED = ("--model", "1B", "--weights", "wide", "--rows", "32", "--raced")
BY_TENSOR_CORES = {"attend_token", "attend_reading", "multiply_rows", "multiply_chosen", "choose_experts"}
LOOPING = "attend_reading"
SHARE = 1 if all_run() else 3
"""One of so many variants of each kernel is compiled, others in each run."""


COMMANDS = """
import json, sys, typer
from benchmarks.gpu.compiled.__main__ import main
app = typer.Typer()
app.command()(main)
sys.exit(any([app(arguments, standalone_mode=False) for arguments in json.loads(sys.argv[1])]))
"""
"""Runs `python -m benchmarks.gpu.compiled` with several lists of arguments, and imports what it needs only once."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The compiled kernels of the steps, and those that a race tries.

    In a process of its own, since in this one kernels are interpreted.
    """
    folder, seed = tmp_path_factory.mktemp("compiled"), random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # shown where a test fails
    files = [folder / "steps.json", folder / "raced.json"]
    asked = ("--capability", "90", "--loop-of", LOOPING, "--share", str(SHARE), "--seed", str(seed), "--json")
    arguments = [[*own, *asked, str(file)] for own, file in zip((STEPS, (*RACED, "--drawn", "2")), files, strict=True)]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMMANDS, json.dumps(arguments)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return [json.loads(file.read_text()) for file in files]


@pytest.mark.timeout(3600)
def test_all_kernels_fit_an_h100_without_spilling(compiled: list[Any]) -> None:
    told, _ = compiled
    assert told["missed"] == ["expand_rows", "shrink_rows"]  # adapters stay beside wide weights, as below
    assert len(told["lines"]) >= 30 // SHARE
    for line in told["lines"]:
        own = line["binary"]
        assert line["hindrance"] == ""
        assert (own["tensor"] > 0) == (line["kernel"] in BY_TENSOR_CORES)
        assert (0 < own["loop"] < 1 << 12) == (line["kernel"] == LOOPING)
        # Weights, but for what they add and multiply with: four such loads where a tile has 32 rows.
        if line["kernel"] in ("multiply_row", "multiply_rows"):
            assert own["wide_loads"] >= own["loads"] - 4


@pytest.mark.timeout(3600)
def test_what_a_race_tries_fits_an_h100_several_times(compiled: list[Any]) -> None:
    """With a tile of which a multiprocessor holds only one program, nothing runs while that program waits.

    Compiles some variants of a fresh random sample of the tiles; `benchmarks.gpu.compiled --raced` compiles all.
    """
    lines = compiled[1]["lines"]
    tried = [line["binary"] for line in lines if line["kernel"] in ("attend_token", "multiply_rows")]
    assert len(tried) >= 4 // SHARE
    added = [line["binary"] for line in lines if line["kernel"] in ("shrink_rows", "expand_rows")]
    assert len(added) >= 6 // SHARE
    for own in added:
        assert own["tensor"]
        assert own["spilled_bytes"] <= 8
        assert 2 * 32 * own["warps"] * own["registers"] <= 1 << 14  # of which a multiprocessor holds eight or more
    for own in tried:
        assert own["spilled_bytes"] <= 8
        assert 2 * own["shared_bytes"] <= 227 << 10
        assert 2 * 32 * own["warps"] * own["registers"] <= 1 << 16
