"""The commands: one group for each service, one command for each of its RPCs, and `top`."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text
from typer import rich_utils

import sensorium
from sensorium.cli.command import RpcCommand
from sensorium.cli.ending import INTERRUPTED, prepare_streams
from sensorium.cli.top import command as top
from sensorium.client.contract import TABLES
from sensorium.client.rpc import rpcs_of

GROUPS = {"ModelService": "models"}
"""Groups that are not named like their service."""

COMMANDS = {"ListModels": "list", "GetModel": "get"}
"""Commands that are not named like their RPC: their group says the rest."""


_EXIT_CODES = (
    "Ends with 0 when done, 1 if the call failed, 2 if the command line was wrong, 130 after Ctrl-C, "
    "141 if the reader of its output left."
)

_TYPES: Callable[[str | Text], Text] | None = getattr(rich_utils, "types_highlighter", None)
"""How typer shows types of options; older versions have no such function."""


def application() -> typer.Typer:
    """Returns the whole command line."""
    rich_utils.highlighter = _Whole()
    rich_utils.types_highlighter = _type_of_value
    app = typer.Typer(
        name="sensorium",
        help="Asks models of every modality, through a sensorium gateway or service.",
        epilog=_EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_global)
    for table in TABLES:
        service = table.service.rpartition(".")[2]
        group = GROUPS.get(service, service.removesuffix("Service").lower())
        app.add_typer(_group(group, table), name=group, help=table.__doc__)
    app.command("top")(top.function())
    return app


class _Whole(rich_utils.OptionHighlighter):
    """Breaks long names in a narrow terminal, where typer would cut them: nobody could read how to spell them."""

    def __call__(self, text: str | Text) -> Text:
        shown = super().__call__(text)
        shown.overflow = "fold"
        return shown


def _type_of_value(text: str | Text) -> Text:
    """Tells no type of flags, which take no value: `--chat <bool>` reads as if `true` had to follow."""
    told = Text() if str(text) == "<bool>" else text
    return _TYPES(told) if _TYPES is not None else Text(str(told))


def _group(name: str, table: type[object]) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    for method, rpc in rpcs_of(table).items():
        command = COMMANDS.get(rpc.name, method.replace("_", "-"))
        group.command(command)(RpcCommand(name, method, rpc).function())
    return group


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"sensorium {sensorium.__version__}")
        raise typer.Exit


def _global(
    _version: Annotated[
        bool, typer.Option("--version", help="Shows the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run() -> None:
    """Runs the command line on the process's arguments and ends the process."""
    prepare_streams()
    try:
        application()()
    except KeyboardInterrupt:  # while the commands were made
        raise SystemExit(INTERRUPTED) from None
