"""A plugin of pytest for `make sanitize`: there is no run without the libraries that sanitizers watch.

Elsewhere a library that cannot be compiled in time is done without, and its tests are skipped.
"""

import os
import platform
from pathlib import Path

import pytest

from services.engine.native import library

_COMPILE_SECONDS = 3600
"""Sanitizers make it many times as long, and what else the machine does longer still."""


def pytest_configure() -> None:
    library._COMPILE_SECONDS = _COMPILE_SECONDS
    preloaded = os.environ.pop("LD_PRELOAD")  # else the compiler would be watched, too
    from tests.services.engine.native.instruction_sets import LIBRARIES, OPTIONS

    os.environ["LD_PRELOAD"] = preloaded  # for processes that tests start
    # Other architectures know no such options.
    wanted = list(OPTIONS) if platform.machine() == "x86_64" else ["native"]
    if lacking := [name for name in wanted if name not in LIBRARIES]:
        pytest.exit(f"Not compiled, so that nothing would be tested: {', '.join(lacking)}.", returncode=1)
    lines = Path("/proc/self/maps").read_text().splitlines()
    if len({line.split()[-1] for line in lines if os.environ["XDG_CACHE_HOME"] in line}) < len(wanted):
        pytest.exit("Libraries were found elsewhere, compiled for no sanitizer.", returncode=1)
