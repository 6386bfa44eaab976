"""`python -m benchmarks.text.recorded FILE MODULE ARGUMENTS`: as `python -m MODULE`, but notes its engine's steps.

The file then holds, for each step, when it ended on the machine's monotonic clock, its rows that decoded, the tokens of
prompts it read, and what it took of the engine's thread on the processor, in seconds.
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
