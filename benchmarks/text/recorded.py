"""`python -m benchmarks.text.recorded FILE MODULE ARGUMENTS`: like `python -m MODULE`, but records the engine's steps.

At the end, the file has for each step: its end on the machine's monotonic clock, the number of decoding rows, the
number of prompt tokens read, and the CPU seconds of the engine's thread.
"""

import atexit
import json
import runpy
import sys
import time
from pathlib import Path

from benchmarks.shares import name_engine
from services.engine.generation.prefill_budget import PrefillBudget

_steps: list[tuple[float, int, int, float]] = []


def main() -> None:
    """Runs the module."""
    file, module, *_ = sys.argv[1:]
    sys.argv = sys.argv[2:]
    original = PrefillBudget.observe

    def observe(self: PrefillBudget, decode_count: int, token_count: int, seconds: float) -> None:
        if not _steps:
            name_engine()
        _steps.append((time.perf_counter(), decode_count, token_count, seconds))
        original(self, decode_count, token_count, seconds)

    PrefillBudget.observe = observe
    atexit.register(lambda: Path(file).write_text(json.dumps(_steps)))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
