"""The log of a process: one line per event on standard error, with the id of the request it belongs to.

Nothing of what callers send or get is in it. What an exception says may quote a prompt, so that a traceback here names
the places and the classes, and leaves the messages out unless an operator wants them.
"""

import json
import logging
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from sensorium.rpc.call_log import LOGGER
from sensorium.rpc.request_ids import REQUEST_ID


class _Line(logging.Formatter):
    def __init__(self, *, exception_messages: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")
        self._exception_messages = exception_messages
        self._second, self._time = -1, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Returns the time of a record in UTC."""
        del datefmt
        if self._second != (second := int(record.created)):
            self._second, self._time = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._time}.{int(record.msecs):03d}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Returns the line of a record, with its facts."""
        facts = "".join(f" {key}={value}" for key, value in _extra(record, "facts").items())
        return super().formatMessage(record) + facts

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Returns the traceback of an exception."""
        return super().formatException(ei) if self._exception_messages else "".join(_places(ei[1], set())).rstrip("\n")


class _Json(_Line):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
            # What the message says already, by name: only programs need it twice.
            **_extra(record, "said"),
            **_extra(record, "facts"),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def configure(
    level: str,
    form: Literal["line", "json"],
    *,
    calls: bool = True,
    exception_messages: bool = False,
    handler: logging.Handler | None = None,
) -> None:
    """Sends the log to `handler` from `level` on, with a line for each call if `calls` are wanted.

    `exception_messages` adds what exceptions say, which may quote prompts and other content of requests. Without a
    handler it goes to standard error, and whoever logs waits until it is written.
    """
    # No line tells of those, and to look them up takes a tenth of what a line costs.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = handler or logging.StreamHandler()
    handler.setFormatter((_Json if form == "json" else _Line)(exception_messages=exception_messages))
    handler.addFilter(_add_request_id)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger(LOGGER).setLevel(logging.NOTSET if calls else logging.WARNING)
    # On `debug`, gRPC writes several lines per message, and hpack writes headers, which hold credentials.
    for chatty in ("grpc", "hpack"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _add_request_id(record: logging.LogRecord) -> bool:
    if not hasattr(record, "request_id"):  # a model's thread says for whom it works
        record.request_id = REQUEST_ID.get()
    return True


def _extra(record: logging.LogRecord, name: str) -> Mapping[str, object]:
    values: Mapping[str, object] = getattr(record, name, {})
    return values


def _places(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Yields the lines of a traceback, those of the exceptions before it first, each with its class alone."""
    seen.add(id(error))
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and id(earlier) not in seen:
        yield from _places(earlier, seen)
        yield "\nFrom there came:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}\n"
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _places(part, seen)
