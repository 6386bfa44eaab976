"""Draws some of many cases that take the same way through the product, so that the whole suite ends sooner."""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")

_RUN = "PYTEST_XDIST_TESTRUNUID"
"""Names what is the same in all processes of a run, which must agree on the tests."""


def all_run() -> bool:
    """Returns whether all cases are run: where processes do not share the suite, or with `SENSORIUM_TESTS=all`."""
    return _RUN not in os.environ or os.environ.get("SENSORIUM_TESTS") == "all"


def drawn(cases: Sequence[Case], count: int) -> list[Case]:
    """Returns `count` of the cases where processes share the suite (`make test`), others in each run; else all.

    `SENSORIUM_TESTS=all make test` runs all, and so does pytest for a single file.
    """
    if all_run():
        return list(cases)
    return [cases[place] for place in sorted(random.Random(os.environ[_RUN]).sample(range(len(cases)), count))]
