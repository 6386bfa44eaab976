"""The text service on a device that fails when a file says so: `--fault FILE`, then the service's own arguments."""

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.engine.generation.running.runner import ModelRunner
from services.text import __main__ as text

STEP_SECONDS = {"": 0.01, "is slow": 0.2}


def main(arguments: Sequence[str]) -> int:
    """Runs the service and returns its exit code."""
    flag, file, *own = arguments
    assert flag == "--fault"
    original = ModelRunner.run

    def run(runner: ModelRunner, rows: Collection[Any]) -> Tensor:
        fault = Path(file).read_text() if Path(file).exists() else ""
        time.sleep(STEP_SECONDS.get(fault, 0.0))
        while fault == "hangs":
            time.sleep(1)
        if fault not in STEP_SECONDS:
            raise torch.AcceleratorError(fault)
        return original(runner, rows)

    ModelRunner.run = run
    return text.main(own)
