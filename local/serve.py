"""Runs the stack on its default ports until Ctrl-C, and prints example commands."""

from rich.console import Console

from local.demo import wait
from local.fleet import fleet
from local.stack import Ports, Stack
from local.stopping import stop_on_signals

_WATCH_SECONDS = 1.0


def run(console: Console) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        StackFailed: a process did not start, or ended.
    """
    stop = stop_on_signals()
    members = fleet()
    ports = Ports.usual(len(members))
    console.print("Starting.")
    with Stack(ports, members, stop) as stack:
        if not wait(console, stack, stop):
            return
        console.print(_directions(ports), highlight=False, soft_wrap=True)
        while not stop.wait(_WATCH_SECONDS):
            stack.check()
        with console.status("stopping"):
            stack.stop()


def _directions(ports: Ports) -> str:
    return f"""[bold]Call it[/]
  .venv/bin/sensorium models list
  .venv/bin/sensorium text stream-generate --chat "What is a KV cache?"
  .venv/bin/sensorium text tokenize "Hello, world" --model chat --json
  .venv/bin/sensorium text classify "What a wonderful day." --model sentiment
  .venv/bin/sensorium vision classify-image models/digits/held_out/00.png --model digits
  .venv/bin/sensorium speech synthesize "turn on the kitchen light" --model synthesizer -o light.wav
  .venv/bin/sensorium speech transcribe light.wav --model transcriber
docs/examples.md has a call for each task, for grpcurl and in Python.

[bold]Watch it[/]
  curl -s http://127.0.0.1:{ports.gateway_metrics}/metrics | grep ^sensorium_gateway
  curl -s http://127.0.0.1:{ports.services[0][1]}/metrics | grep ^sensorium_engine

Ctrl-C stops everything.
"""
