"""The command, and its options."""

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from sensorium.cli.ending import as_a_shell_expects
from sensorium.cli.server import Server, server_parameters
from sensorium.cli.top.scrape import ScrapeFailed
from sensorium.cli.top.watch import Watch, forever, once

_Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        envvar="SENSORIUM_METRICS",
        help="The gateway's metrics port. Absent: http://HOST:9050/metrics, on the host of the target.",
        metavar="URL",
    ),
]
_Interval = Annotated[float, typer.Option("--interval", help="Seconds from one look to the next.", min=0.1)]
_Once = Annotated[bool, typer.Option("--once", help="Prints what happens in one interval, and ends.")]
_USUAL_PORT = ":50050"
"""Of a gateway whose metrics are on port 9050."""
_OF_ONE_CALL = {"model", "timeout", "request_id"}


def function() -> Callable[..., None]:
    """Returns the function typer makes the command of."""

    def top(**given: Any) -> None:
        """Shows pools, models and endpoints of a gateway, and how fast they are, until Ctrl-C."""
        _run(given.pop("metrics"), given.pop("interval"), given.pop("once"), Server(**given))

    marked = {"metrics": (_Metrics, None), "interval": (_Interval, 2.0), "once": (_Once, False)}
    marked |= {name: option for name, option in server_parameters().items() if name not in _OF_ONE_CALL}
    kind = inspect.Parameter.KEYWORD_ONLY
    signature = [inspect.Parameter(name, kind, annotation=a, default=d) for name, (a, d) in marked.items()]
    top.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    top.__annotations__ = {name: annotation for name, (annotation, _) in marked.items()}
    return top


def _run(url: str | None, interval: float, only_once: bool, server: Server) -> None:
    told = server.target
    if not url:
        url = metrics_of(told)
        if not told.endswith(_USUAL_PORT):  # another gateway of that host may have these
            told += f" (metrics: {url})"
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url!r} is not http://HOST:PORT/PATH.", param_hint="--metrics")
    # Without a terminal there is no width to keep to: what reads the pipe wants all columns.
    console = Console() if sys.stdout.isatty() else Console(width=100_000)
    with as_a_shell_expects():
        try:
            with server.client() as client:
                (once if only_once else forever)(Watch(client, told, url), console, interval)
        except ScrapeFailed as error:
            told = Text(str(error), style="bold red")
            told.append("\n  → The gateway's metrics port is named by --metrics, or SENSORIUM_METRICS.", style="yellow")
            Console(stderr=True).print(told, soft_wrap=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            return


def metrics_of(target: str) -> str:
    """Returns where the gateway at a gRPC target serves its metrics unless told otherwise."""
    address = target.rpartition("/")[2]
    return f"http://{address.rpartition(':')[0] or address}:9050/metrics"
