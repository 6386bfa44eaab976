"""The id under which a request can be found in every log it passed."""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from uuid import uuid4

from sensorium.status import REQUEST_ID_KEY

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
"""Id of the call the current task serves; `-` outside a call."""

_SANE = re.compile(r"[\x21-\x7e]{1,128}")


def request_id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Returns the caller's `x-request-id` if it is 1 to 128 printable ASCII characters, else a new one."""
    for key, value in metadata:
        if key == REQUEST_ID_KEY and isinstance(value, str) and _SANE.fullmatch(value):
            return value
    return uuid4().hex
