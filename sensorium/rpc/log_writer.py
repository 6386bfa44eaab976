"""Writes the log in a thread, so that a reader of the log that stops reading holds up no call."""

import logging
import os
import select
from queue import SimpleQueue
from threading import Thread
from typing import TextIO

from prometheus_client import Counter

LINES_DROPPED = Counter(
    "sensorium_log_lines_dropped_total",
    "Log lines dropped because the reader of the log did not keep up.",
    registry=None,
)
"""Of the whole process; every server's registry has it."""

_MOST = 10_000
_TOGETHER = 100
_FAREWELL_SECONDS = 2.0


class LogWriter(logging.Handler):
    """A handler that formats where a line is logged and writes in a thread of its own.

    Where `most` lines wait to be written, more are dropped and counted. To close it writes what waits, for a bounded
    time; at the end of the process, logging closes it.
    """

    def __init__(self, stream: TextIO, most: int = _MOST) -> None:
        """Writes to the file of `stream`, past its buffer, whose lock a thread that hangs would keep."""
        super().__init__()
        self._file = stream.fileno()
        self._most = most
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hands a line to the thread."""
        if self._lines.qsize() >= self._most:
            LINES_DROPPED.inc()
            return
        try:
            self._lines.put(self.format(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Returns when everything is written, or after two seconds."""
        self._lines.put(None)
        self._thread.join(_FAREWELL_SECONDS)
        super().close()

    def _write(self) -> None:
        while lines := self._next():
            try:
                self._write_all("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
            except OSError:
                LINES_DROPPED.inc(len(lines))  # nobody will ever read them, and there is nowhere to say so

    def _next(self) -> list[str]:
        """Waits for lines and returns those that are there, some at most; none at the end."""
        lines: list[str] = []
        while len(lines) < _TOGETHER and not (lines and self._lines.empty()):
            line = self._lines.get()
            if line is None:
                self._lines.put(None)
                break
            lines.append(line)
        return lines

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            # Others that share the file may have made it one that does not block.
            select.select((), (self._file,), ())
            try:
                rest = rest[os.write(self._file, rest) :]
            except BlockingIOError:
                continue
