"""The kernels as a real model launches them, compiled for an H100: more is refused there than by the interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
STEPS = ("--model", "qwen3_moe", "--weights", "fp8_e4m3", "--rows", "1", "--tokens", "32", "--capability", "90")
BY_TENSOR_CORES = {"attend_token", "attend_reading", "multiply_rows", "multiply_chosen", "choose_experts"}


@pytest.mark.timeout(300)
def test_all_kernels_fit_an_h100_without_spilling(tmp_path: Path) -> None:
    """In a process of its own, since in this one they are interpreted."""
    file = tmp_path / "compiled.json"
    command = [sys.executable, "-m", "benchmarks.gpu.compiled", *STEPS, "--json", str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    told = json.loads(file.read_text())
    assert told["missed"] == []
    for line in told["lines"]:
        own = line["binary"]
        assert line["hindrance"] == ""
        assert (own["tensor"] > 0) == (line["kernel"] in BY_TENSOR_CORES)
        # Weights, but for what they add and multiply with: four such loads where a tile has 32 rows.
        if line["kernel"] in ("multiply_row", "multiply_rows"):
            assert own["wide_loads"] >= own["loads"] - 4
