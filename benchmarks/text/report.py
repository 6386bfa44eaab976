"""Writes the report: results, machine, command, and what was not measured."""

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.machine import Setting
from benchmarks.text.result import Result
from benchmarks.text.table import grids

_METHOD = """\
Every system runs on one core with one thread for arithmetic, gateway included; the callers run on another core. Random
weights in bfloat16, greedy, every answer as long as asked for. The loop is closed: each caller sends its next request
when its last one ended. Each cell is the median over the repeats, with the lowest and highest in brackets; in each
repeat every system is started and measured in turn. Ratios are taken within a repeat. All systems run with their
defaults. `generate` is no server: static batches in process, without arrivals, streams or a network. Token counts are
the systems' own and were within 2 % of what was asked, or the cell is left out and named below.
"""


def markdown(result: Result, setting: Setting) -> str:
    """Returns the report as Markdown."""
    facts = [f"- date: {setting.date}", f"- machine: {setting.machine}"]
    facts.append("- versions: " + ", ".join(f"{name} {version}" for name, version in setting.versions.items()))
    facts.append(f"- command: `{setting.command}`")
    notes = [f"- {_one_line(note)}" for note in result.notes] or ["- nothing to note"]
    parts = ["# Text generation, side by side", "", *facts, "", _METHOD]
    parts += [grid.markdown() for grid in grids(result)]
    return "\n".join([*parts, "### Notes", "", *notes, ""])


def write_json(result: Result, setting: Setting, path: Path) -> None:
    """Writes every measurement of every repeat as JSON."""
    everything = {"setting": asdict(setting), **result.as_json()}
    path.write_text(json.dumps(everything, indent=1) + "\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]
