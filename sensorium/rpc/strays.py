"""Exceptions that nobody catches: they go to the log as all others do, and not to standard error with all they say."""

import asyncio
import logging
import sys
import threading
from typing import Any

_log = logging.getLogger("sensorium.rpc")


def catch(loop: asyncio.AbstractEventLoop) -> None:
    """Has what tasks, threads and finalizers of this process leave uncaught written to the log."""
    loop.set_exception_handler(_task)
    threading.excepthook = _thread
    sys.unraisablehook = _finalizer


def _task(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Its other entries show tasks, whose text quotes their exception.
    _log.error("%s", context["message"], exc_info=context.get("exception"))


def _thread(stray: threading.ExceptHookArgs) -> None:
    name = stray.thread.name if stray.thread is not None else "unknown"
    _log.error("the thread %s ended", name, exc_info=stray.exc_value)


def _finalizer(stray: Any) -> None:
    _log.error("an exception could not be raised", exc_info=stray.exc_value)
