"""A server process from its command line to its exit code."""

import asyncio
import atexit
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import NoReturn

import uvloop

from sensorium.rpc.configuration import SettingsT, load
from sensorium.rpc.garbage import kept
from sensorium.rpc.log_writer import LogWriter
from sensorium.rpc.logs import configure
from sensorium.rpc.server import CannotServe, Server
from sensorium.rpc.strays import catch
from sensorium.rpc.unread_variables import unread_variables

_log = logging.getLogger("sensorium.rpc")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(
    kind: type[SettingsT],
    serve: Callable[[SettingsT], Awaitable[None]],
    *,
    program: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Reads settings of `kind`, runs `serve` on an event loop, and returns the process's exit code.

    0 after a drain, 1 where the process could not serve (the log says why). Wrong settings exit with 2.
    """
    settings = load(kind, program, arguments)
    configure(
        settings.log_level,
        settings.log_format,
        calls=settings.log_calls,
        exception_messages=settings.log_exception_messages,
        handler=LogWriter(sys.stderr),
    )
    for unread in unread_variables(kind.model_fields):
        _log.warning(unread)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        catch(runner.get_loop())
        try:
            with _quiet_interrupts(), kept():  # what it imports, which may be torch
                served = serve(settings)
            runner.run(_awaited(served))
        except CannotServe as error:
            print(f"{program} cannot start: {error}", file=sys.stderr)
            return 1
        except Exception as error:
            # What a call raises does not come here: this says nothing of what callers sent.
            _log.exception("%s ends: %s", program, error)
            return 1
        finally:
            gc.unfreeze()
    return 0


def end(code: int) -> NoReturn:
    """Ends the process as `sys.exit` does, but lets what it holds go all at once: Python would free torch bit by bit,
    for a second or two.
    """
    threading._shutdown()  # type: ignore
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


async def run(server: Server, prepare: Callable[[], Awaitable[None]] | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then drains; a second signal cuts the drain short.

    `prepare`, such as the loading of a model, runs while the server already answers, with health NOT_SERVING; a signal
    cancels it. What it raises is raised here, after the drain.
    """
    async with _stop_signal(server) as stop, server:
        ready = False
        try:
            ready = prepare is None or await _prepared(prepare, stop)
        finally:
            if not ready:
                # Nobody was sent here yet, so there is nothing to wait for.
                server.hurry.set()
        if ready:
            # What lives now lives as long as the process; walking through it, torch and all, would stop every stream
            # for a fifth of a second now and then.
            gc.collect()
            gc.freeze()
            server.ready()
            await stop.wait()


async def _prepared(prepare: Callable[[], Awaitable[None]], stop: asyncio.Event) -> bool:
    """Returns whether `prepare` came to its end before `stop`."""
    preparing = asyncio.ensure_future(prepare())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((preparing, stopping), return_when=asyncio.FIRST_COMPLETED)
        if preparing.done():
            await preparing
            return True
        return False
    finally:
        for task in (preparing, stopping):
            task.cancel()
        await asyncio.gather(preparing, stopping, return_exceptions=True)


@contextlib.contextmanager
def _quiet_interrupts() -> Generator[None]:
    """Ctrl-C inside ends the process at once, without the traceback of an import. Where it is ignored, it stays so."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.asynccontextmanager
async def _stop_signal(server: Server) -> AsyncGenerator[asyncio.Event]:
    stop = asyncio.Event()

    def told(number: signal.Signals) -> None:
        _log.info("%s received", number.name)
        if stop.is_set():
            server.hurry.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, told, number)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable
