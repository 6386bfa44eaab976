"""The id under which a request can be found in every log it passed."""

import re
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import grpc

from sensorium.entropy import random_bytes
from sensorium.status import REQUEST_ID_KEY

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
"""Id of the call the current task serves; `-` outside a call."""

_SANE = re.compile(r"[\x21-\x7e]{1,128}")


def request_id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Returns the caller's `x-request-id` if it is 1 to 128 printable ASCII characters, else a new one."""
    for key, value in metadata:
        if key == REQUEST_ID_KEY and isinstance(value, str) and _SANE.fullmatch(value):
            return value
    return UUID(bytes=random_bytes(), version=4).hex


async def echo(context: grpc.aio.ServicerContext[Any, Any], request_id: str) -> None:
    """Sends the request id as initial metadata unless initial metadata were sent before."""
    with suppress(grpc.aio.UsageError):
        await context.send_initial_metadata(((REQUEST_ID_KEY, request_id),))
