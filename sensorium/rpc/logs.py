"""The log of a process: one line per event on standard error, with the id of the request it belongs to."""

import json
import logging
import time
from typing import Literal

from sensorium.rpc.request_ids import REQUEST_ID


class _Line(logging.Formatter):
    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")


class _Json(_Line):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = REQUEST_ID.get()
    return True


def configure(level: str, form: Literal["line", "json"]) -> None:
    """Sends the log to standard error from `level` on. Prompts and other content of requests are never logged."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Line())
    handler.addFilter(_add_request_id)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # On `debug`, gRPC writes several lines per message.
    logging.getLogger("grpc").setLevel(logging.WARNING)
