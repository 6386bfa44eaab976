"""The kernels as a real model launches them, compiled for an H100, whose compiler refuses more than the interpreter."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")
STEPS = ("--model", "qwen3_moe", "--weights", "fp8_e4m3", "--rows", "1", "--tokens", "32")
RACED = ("--model", "1B", "--weights", "wide", "--rows", "32", "--raced")
BY_TENSOR_CORES = {"attend_token", "attend_reading", "multiply_rows", "multiply_chosen", "choose_experts"}


def compiled(folder: Path, *arguments: str) -> Any:
    """Returns the compiled kernels. Runs in a process of its own, since in this one kernels are interpreted."""
    file = folder / "compiled.json"
    command = [sys.executable, "-m", "benchmarks.gpu.compiled", *arguments, "--capability", "90", "--json", str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return json.loads(file.read_text())


@pytest.mark.timeout(3600)
def test_all_kernels_fit_an_h100_without_spilling(tmp_path: Path) -> None:
    told = compiled(tmp_path, *STEPS)
    assert told["missed"] == ["expand_rows", "shrink_rows"]  # adapters stay beside wide weights, as below
    for line in told["lines"]:
        own = line["binary"]
        assert line["hindrance"] == ""
        assert (own["tensor"] > 0) == (line["kernel"] in BY_TENSOR_CORES)
        # Weights, but for what they add and multiply with: four such loads where a tile has 32 rows.
        if line["kernel"] in ("multiply_row", "multiply_rows"):
            assert own["wide_loads"] >= own["loads"] - 4


@pytest.mark.timeout(3600)
def test_what_a_race_tries_fits_an_h100_several_times(tmp_path: Path) -> None:
    """With a tile of which a multiprocessor holds only one program, nothing runs while that program waits.

    Compiles a fresh random sample of the tiles; `python -m benchmarks.gpu.compiled --raced` compiles all.
    """
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # shown where a test fails
    lines = compiled(tmp_path, *RACED, "--drawn", "2", "--seed", str(seed))["lines"]
    tried = [line["binary"] for line in lines if line["kernel"] in ("attend_token", "multiply_rows")]
    assert len(tried) >= 4
    added = [line["binary"] for line in lines if line["kernel"] in ("shrink_rows", "expand_rows")]
    assert len(added) >= 6
    for own in added:
        assert own["tensor"]
        assert own["spilled_bytes"] <= 8
        assert 2 * 32 * own["warps"] * own["registers"] <= 1 << 14  # of which a multiprocessor holds eight or more
    for own in tried:
        assert own["spilled_bytes"] <= 8
        assert 2 * own["shared_bytes"] <= 227 << 10
        assert 2 * 32 * own["warps"] * own["registers"] <= 1 << 16
