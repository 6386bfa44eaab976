"""Captures the log that this process would write to standard error."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any, Literal

from sensorium.rpc.call_log import LOGGER
from sensorium.rpc.logs import configure


class Logged:
    """The log captured so far."""

    def __init__(self, stream: StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The log lines that are JSON objects, parsed."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    def calls(self, method: str = "") -> list[dict[str, Any]]:
        """The lines of the call log, one per ended RPC, of one method (such as `Generate`) or of all."""
        return [entry for entry in self.entries if entry["logger"] == LOGGER and entry["method"].endswith(method)]


@contextmanager
def logged(form: Literal["line", "json"] = "json", level: str = "debug", **options: bool) -> Iterator[Logged]:
    """Captures the log, and everything written to Python's `sys.stderr`, inside the `with` block."""
    root, stream = logging.getLogger(), StringIO()
    handlers, before = root.handlers[:], root.level
    loggers = [logging.getLogger(name) for name in (LOGGER, "grpc")]
    levels = [logger.level for logger in loggers]
    try:
        with redirect_stderr(stream):
            configure(level, form, **options)
            yield Logged(stream)
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
        for logger, own in zip(loggers, levels, strict=True):
            logger.setLevel(own)
        print(stream.getvalue(), file=sys.stderr)
