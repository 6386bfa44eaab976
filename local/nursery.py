"""Starts services by forking one process that has imported torch and transformers: a dozen start in the time of one.

Only for running many services on one machine. In production, each service is its own `python -m`.
"""

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from local.process import STOP_SECONDS

_PRELOADED = [
    "local.interruptible",
    *("services.text.app", "services.vision.app", "services.speech.app", "services.multimodal.app"),
    "local.prepared",
    "local.frozen",
]


class ForkServerEnded(Exception):
    """The process that was to be forked has ended: interrupted by Ctrl-C while it imported, or killed."""


class Fork:
    """A forked service that writes its output to a file. It ends when `stop` is called."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        """Raises ForkServerEnded."""
        self.name = name
        self.log = log
        self._process = fork(_serve, module, list(arguments), str(log))

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.exitcode

    def last_lines(self, count: int = 15) -> str:
        """Returns the last `count` lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-count:])

    def stop(self) -> int:
        """Sends SIGTERM, waits while it drains (then kills it), and returns its exit code."""
        self._process.terminate()
        self._process.join(STOP_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def fork(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """Starts a process, in its own session, that calls `target` with arguments that can be pickled.

    Raises ForkServerEnded.
    """
    # Read by the fork server, which starts with the first process.
    os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_begin, args=(target, *arguments))
    # Ctrl-C reaches the fork server too, which would print a traceback before it has imported `interruptible`: the
    # signal waits. Here it waits until the fork is there, or the fork server has ended.
    resource_tracker.ensure_running()  # started later, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    except EOFError:
        raise ForkServerEnded("The process that imports what services need, and is forked, has ended.") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _begin(target: Callable[..., None], *arguments: object) -> None:
    """Runs in the fork."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    target(*arguments)


def _serve(module: str, arguments: list[str], log: str) -> None:
    """Runs the service `module` with its output in a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.exit(importlib.import_module(f"{module}.__main__").main(arguments))
