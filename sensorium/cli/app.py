"""The commands: one group for each service, one command for each of its RPCs, and `top`."""

from functools import partial
from typing import Annotated, Any

import typer

import sensorium
from sensorium.cli.command import RpcCommand
from sensorium.cli.ending import INTERRUPTED, prepare_streams
from sensorium.cli.groups import Making, command, group, kind_of
from sensorium.client.contract import TABLES
from sensorium.client.rpc import Rpc, rpcs_of

GROUPS = {"ModelService": "models"}
"""Groups that are not named like their service."""

COMMANDS = {"ListModels": "list", "GetModel": "get"}
"""Commands that are not named like their RPC: their group says the rest."""


_EXIT_CODES = (
    "Ends with 0 when done, 1 if the call failed, 2 if the command line was wrong, 130 after Ctrl-C, "
    "141 if the reader of its output left."
)


def application() -> typer.Typer:
    """Returns the whole command line."""
    tables = {_name_of(table.service.rpartition(".")[2]): table for table in TABLES}
    makings: dict[str, Making] = {"top": _top} | {name: partial(_group_of, name, tables[name]) for name in tables}
    app = typer.Typer(
        name="sensorium",
        cls=kind_of(makings, lambda own: [f"{name} {own}" for name in tables if own in _methods(tables[name])]),
        help="Asks models of every modality, through a sensorium gateway or service.",
        epilog=_EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_global)
    return app


def _name_of(service: str) -> str:
    return GROUPS.get(service, service.removesuffix("Service").lower())


def _methods(table: type[object]) -> dict[str, str]:
    """Returns the client's methods by the names of their commands."""
    return {COMMANDS.get(rpc.name, method.replace("_", "-")): method for method, rpc in rpcs_of(table).items()}


def _group_of(name: str, table: type[object]) -> Any:
    rpcs = rpcs_of(table)
    makings = {own: partial(_command, own, name, method, rpcs[method]) for own, method in _methods(table).items()}
    return group(name, table.__doc__, makings)


def _command(name: str, service: str, method: str, rpc: Rpc[Any, Any]) -> Any:
    return command(name, RpcCommand(service, method, rpc).function())


def _top() -> Any:
    from sensorium.cli.top import command as top  # imports what reads metrics

    return command("top", top.function())


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
