"""Draws some of many cases that take the same way through the product, so that the whole suite ends sooner."""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")


def drawn(cases: Sequence[Case], count: int) -> list[Case]:
    """Returns `count` of the cases where processes share the suite (`make test`), others in each run; else all.

    `SENSORIUM_TESTS=all make test` runs all, and so does pytest for a single file.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")  # the same in all processes of a run, which must agree on the tests
    if run is None or os.environ.get("SENSORIUM_TESTS") == "all":
        return list(cases)
    return [cases[place] for place in sorted(random.Random(run).sample(range(len(cases)), count))]
