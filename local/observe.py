"""Runs the stack with a real Prometheus, its boards and example traffic, until Ctrl-C."""

from collections.abc import Collection
from contextlib import nullcontext

from rich.console import Console

from local.boards.server import BoardServer
from local.demo import wait
from local.fleet import CHECKOUT, fleet
from local.prometheus import Prometheus
from local.scraping import configuration, rules
from local.stack import Ports, Stack, StackFailed, must_be_free
from local.stopping import stop_on_signals
from local.tools import tool
from local.traffic import Traffic

PROMETHEUS_PORT = 9090
BOARDS_PORT = 9091
_WATCH_SECONDS = 1.0
_SCRAPE_SECONDS = 3.0


def run(console: Console, *, only: Collection[str] = (), quiet: bool = False, free: bool = False) -> None:
    """Serves all models, or `only` some, until SIGINT or SIGTERM.

    `quiet` sends no example traffic. `free` uses free ports instead of the default ones.

    Raises:
        StackFailed: there is no such model, a process did not start or has ended, or a port is in use.
    """
    stop = stop_on_signals()
    members = [member for member in fleet() if not only or member.name in only]
    if unknown := {*only} - {member.name for member in members}:
        raise StackFailed(f"There is no embedded model {', '.join(sorted(unknown))}.")
    ports = (Ports.free if free else Ports.usual)(len(members))
    must_be_free(() if free else (PROMETHEUS_PORT, BOARDS_PORT))  # not after all models were loaded
    console.print("Starting.")
    with Stack(ports, members, stop) as stack:
        if not wait(console, stack, stop):
            return
        config = configuration(ports, members, _SCRAPE_SECONDS)
        with Prometheus(config, rules(), 0 if free else PROMETHEUS_PORT) as prometheus:
            try:
                server = BoardServer(prometheus, 0 if free else BOARDS_PORT)
            except OSError as error:
                raise StackFailed(f"The boards cannot be served on port {BOARDS_PORT}: {error.strerror}.") from None
            with server, nullcontext() if quiet else Traffic(stack.target, members, talkers=1):
                console.print(_directions(ports, prometheus, server), highlight=False, soft_wrap=True)
                while not stop.wait(_WATCH_SECONDS):
                    stack.check()
                    prometheus.check()
            console.print("Stopping.")


def _directions(ports: Ports, prometheus: Prometheus, boards: BoardServer) -> str:
    usual = ports.gateway == Ports.usual(0).gateway
    target = "" if usual else f" --target 127.0.0.1:{ports.gateway}"
    promtool = tool("promtool")
    promtool = promtool.relative_to(CHECKOUT) if promtool.is_relative_to(CHECKOUT) else promtool
    metrics = "" if usual else f" --metrics http://127.0.0.1:{ports.gateway_metrics}/metrics"
    return f"""[bold]Look[/]
  {boards.url}  the boards of Grafana, drawn here: Gateway, Model server, SLO & capacity
  .venv/bin/sensorium top{target}{metrics}    the same in a terminal

[bold]Ask[/] ({prometheus.url} is the API of Prometheus; all recording rules and alerts are loaded)
  {promtool} query instant {prometheus.url} 'pool:sensorium_gateway_saturation:sum'
  curl -s {prometheus.url}/api/v1/alerts
  curl -s http://127.0.0.1:{ports.gateway_metrics}/metrics | grep ^sensorium_gateway

[bold]Try[/] and see it on the boards
  .venv/bin/sensorium text stream-generate --chat "What is a KV cache?"{target}
  .venv/bin/sensorium text generate --chat "What is a KV cache?" --timeout 0.02{target}

Ctrl-C stops everything.
"""
