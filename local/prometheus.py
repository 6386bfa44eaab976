"""Runs a real Prometheus that scrapes the stack, and queries it."""

import json
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError

from local.process import Program
from local.stack import StackFailed, free_ports
from local.tools import tool

START_SECONDS = 30.0


@dataclass(frozen=True)
class Series:
    """One series of a query's result."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]
    """(Unix time in seconds, value) pairs."""

    @property
    def value(self) -> float:
        """The newest value."""
        return self.points[-1][1]


class Prometheus:
    """A Prometheus process, running inside `with`, with its data in a temporary folder.

    Port 0 chooses a free port, so create it after all other processes have bound theirs.
    """

    def __init__(self, configuration: Mapping[str, Any], rules: Mapping[str, Any], port: int = 0) -> None:
        self.port = port or free_ports(1)[0]
        self._folder = tempfile.TemporaryDirectory(prefix="sensorium-prometheus-")
        self._configuration = configuration
        self._rules = rules
        self._process: Program | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        # JSON is valid YAML.
        (folder / "rules.yml").write_text(json.dumps(self._rules))
        (folder / "prometheus.yml").write_text(json.dumps({**self._configuration, "rule_files": ["rules.yml"]}))
        command = [
            str(tool("prometheus")),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
        ]
        self._process = Program("prometheus", command, folder / "prometheus.log")
        give_up = time.monotonic() + START_SECONDS
        while not self._ready():
            self.check()
            if time.monotonic() > give_up:
                self.stop()
                raise StackFailed(f"Prometheus is not ready after {START_SECONDS:.0f} s.")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        """Stops the process. May be called again."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def check(self) -> None:
        """Raises StackFailed if it has ended."""
        if self._process is not None and self._process.exit_code is not None:
            raise StackFailed(f"Prometheus ended with code {self._process.exit_code}:\n{self._process.last_lines()}")

    def now(self, expression: str) -> list[Series]:
        """Evaluates a PromQL expression now; returns its series with one point each."""
        answer = self.ask("query", query=expression)
        if answer["resultType"] == "scalar":
            return [Series({}, [_point(answer["result"])])]
        return [Series(series["metric"], [_point(series["value"])]) for series in answer["result"]]

    def over(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluates a PromQL expression every `step` seconds from `start` to `end` (Unix time); returns its series."""
        answer = self.ask("query_range", query=expression, start=start, end=end, step=step)
        return [Series(series["metric"], [_point(value) for value in series["values"]]) for series in answer["result"]]

    def ask(self, what: str, **parameters: Any) -> Any:
        """Calls the HTTP API endpoint `what`; returns the field `data` of its answer.

        Raises:
            HTTPError: Prometheus refused the query.
        """
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{query}", timeout=30) as answer:  # noqa: S310 - own URL
            return json.load(answer)["data"]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:  # noqa: S310 - own URL
                return answer.status == 200
        except (URLError, OSError):
            return False


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
