"""Draws the pictures of docs/boards, with data of a real Prometheus that scrapes the stack under load."""

import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from k8s.monitoring.boards import BOARDS
from local.boards.answer import Span, answers
from local.boards.sheet import sheet
from local.demo import wait
from local.fleet import CHECKOUT, fleet
from local.prometheus import Prometheus
from local.scraping import configuration, rules
from local.stack import Ports, Stack
from local.stopping import stop_on_signals
from local.traffic import Traffic

FOLDER = CHECKOUT / "docs/boards"
SHOWN = {"chat", "embedding", "sentiment", "digits", "detector", "transcriber", "synthesizer", "image-chat"}
"""A few models of every modality. With all models, legends would be too long."""
SHEETS = (*BOARDS, replace(BOARDS[0], name="glance", rows=BOARDS[0].rows[:2]))
"""All boards, and a short one with the first rows of the gateway's."""

_INTERVAL = 10.0


def run(console: Console, seconds: float, folder: Path = FOLDER) -> None:
    """Writes a picture of each board after `seconds` of load; none if interrupted before.

    Raises:
        StackFailed: a process did not start, or ended.
    """
    stop = stop_on_signals()
    members = [member for member in fleet() if member.name in SHOWN]
    ports = Ports.free(len(members))
    console.print("Starting.")
    with Stack(ports, members, stop) as stack:
        if not wait(console, stack, stop):
            return
        with Prometheus(configuration(ports, members), rules()) as prometheus, Traffic(stack.target, members):
            start = time.time() + _INTERVAL
            with console.status(f"under load for {seconds + _INTERVAL:.0f} s"):
                if stop.wait(seconds + _INTERVAL):
                    return
            span = Span(start, time.time(), step=max(seconds / 90, 1), interval=_INTERVAL)
            drawn = {board.name: sheet(board, lambda panel: answers(prometheus, panel, span), span) for board in SHEETS}
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in drawn.items():
        (folder / f"{name}.svg").write_text(picture)
        console.print(f"{folder / name}.svg")
