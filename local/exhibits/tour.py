"""Runs all exhibits and prints a table of questions, answers and whether these are right."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from local.exhibits.exhibit import items_of
from local.exhibits.images import IMAGES
from local.exhibits.multimodal import MULTIMODAL
from local.exhibits.picture import WIDTH
from local.exhibits.sounds import SOUNDS
from local.exhibits.texts import TEXTS
from local.fleet import Member
from sensorium import Client

EXHIBITS = TEXTS | IMAGES | SOUNDS | MULTIMODAL


def tour(console: Console, client: Client, members: Sequence[Member]) -> None:
    """Runs the exhibits of `members` and prints a table of the results."""
    table = Table("task, model", title="Every other task")
    table.add_column("held-out question", min_width=WIDTH)
    table.add_column("answer")
    table.add_column("", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    asked = right = 0
    for member in (member for member in members if member.name in EXHIBITS):
        exhibit = EXHIBITS[member.name]
        with console.status(f"{exhibit.rpc}: {member.name}"):
            began = time.perf_counter()
            shown = list(exhibit.ask(client, member.folder, items_of(member.folder)))
            each = 1000 * (time.perf_counter() - began) / len(shown)
        for place, one in enumerate(shown):
            mark = "[green]✓[/]" if one.right else "[red]✗[/]"
            first = f"{exhibit.rpc}\n[dim]{member.name}[/]" if place == 0 else ""
            asked_for = one.picture if one.picture and console.color_system else one.asked
            table.add_row(first, asked_for, one.answer, mark, f"{each:.0f}" if place == 0 else "")
        table.add_section()
        asked, right = asked + len(shown), right + sum(one.right for one in shown)
    console.print(table)
    console.print(f"{right} of {asked} right; models/*/README.md has the accuracy of each model.\n")
