"""A pytest plugin for `make sanitize`, which fails if the libraries with sanitizers are missing.

Without it, tests of a library that cannot be compiled in time are skipped.
"""

import os
from pathlib import Path

import pytest

from services.engine.native import library

_COMPILE_SECONDS = 3600
"""Compiling with sanitizers takes many times as long, and even longer on a busy machine."""


def pytest_configure() -> None:
    library._COMPILE_SECONDS = _COMPILE_SECONDS
    preloaded = os.environ.pop("LD_PRELOAD")  # else the sanitizer would also watch the compiler
    from tests.services.engine.native.instruction_sets import DIFFERING, LIBRARIES

    os.environ["LD_PRELOAD"] = preloaded  # for processes that tests start
    if lacking := [name for name in DIFFERING if name not in LIBRARIES]:
        pytest.exit(f"Not compiled, so that nothing would be tested: {', '.join(lacking)}.", returncode=1)
    lines = Path("/proc/self/maps").read_text().splitlines()
    if len({line.split()[-1] for line in lines if os.environ["XDG_CACHE_HOME"] in line}) < len(DIFFERING):
        pytest.exit("Libraries were found elsewhere, compiled for no sanitizer.", returncode=1)
