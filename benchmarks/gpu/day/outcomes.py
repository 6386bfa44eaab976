"""A pytest plugin that writes the result of each test at once, so that nothing is lost if the run is cut off."""

import json
from pathlib import Path
from typing import Any

import pytest

_LONGEST = 4000
"""Characters that are kept of a failure, from its end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the plugin's options."""
    parser.addoption("--outcomes", type=Path, help="A file to which a line of JSON is added for each test.")
    parser.addoption("--outcomes-of", default="", help="What the lines say these tests are.")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the plugin in the main process, to which xdist workers report."""
    file = config.getoption("--outcomes")
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Outcomes(file, str(config.getoption("--outcomes-of"))))


class _Outcomes:
    def __init__(self, file: Path, of: str) -> None:
        self._file, self._of = file, of

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Writes that a test began, in case that it never ends."""
        self._add(nodeid, "began")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Writes failures of any phase, and otherwise the result of the test itself."""
        if report.failed:
            self._add(report.nodeid, "failed", report.longreprtext[-_LONGEST:])
        elif report.skipped or report.when == "call":
            self._add(report.nodeid, report.outcome)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Writes files that cannot be collected."""
        if report.failed:
            self._add(report.nodeid, "failed", report.longreprtext[-_LONGEST:])

    def _add(self, test: str, outcome: str, tail: str = "") -> None:
        line: dict[str, Any] = {"of": self._of, "test": test, "outcome": outcome, "tail": tail}
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
