"""How a command ends where something stops it, and what it has of its standard streams."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

INTERRUPTED = 130
BROKEN_PIPE = 141


@contextmanager
def as_a_shell_expects() -> Generator[None]:
    """Flushes what was printed; ends on Ctrl-C, without its reader, and where a file or a full disk fails it."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        _let_go_of_output()
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(BROKEN_PIPE) from None
        Console(stderr=True).print(Text(str(error), style="bold red"), soft_wrap=True)
        raise typer.Exit(1) from None


def _let_go_of_output() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        # Python would fail once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def prepare_streams() -> None:
    """Stands in for standard streams that were closed, and lets output hold what its encoding does not."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - never closed
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure")(errors="backslashreplace")  # noqa: B009 - unknown to the type of the streams
