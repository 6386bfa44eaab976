"""`python -m local demo|serve|observe|boards`."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from local import demo, draw, observe, serve
from local.stack import StackFailed

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The whole stack on this machine.")


@app.command("demo")
def demonstrate() -> None:
    """Starts everything, holds a short conversation through the gateway, prints its timings, and stops."""
    _run(demo.run)


@app.command("serve")
def keep_serving() -> None:
    """Runs everything until Ctrl-C."""
    _run(serve.run)


@app.command("observe")
def keep_observing(
    only: Annotated[list[str] | None, typer.Option(help="Serves only this model. Can be repeated.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Sends no example traffic.")] = False,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Uses free ports instead of the default ones.")
    ] = False,
) -> None:
    """Runs everything with Prometheus, boards and example traffic, until Ctrl-C."""
    _run(lambda console: observe.run(console, only=only or (), quiet=quiet, free=free_ports))


@app.command("boards")
def draw_boards(seconds: float = 90) -> None:
    """Draws the boards of k8s/monitoring into docs/boards, with data of a Prometheus under load."""
    _run(lambda console: draw.run(console, seconds))


def _run(what: Callable[[Console], None]) -> None:
    console = Console()
    try:
        what(console)
    except StackFailed as error:
        # A log may hold what looks like markup.
        console.print(Text.assemble(("The stack failed.", "bold red"), f" {error}"), soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    app()
