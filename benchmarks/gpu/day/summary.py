"""Renders one page about a day with a GPU, in the form of benchmarks/RESULTS.md."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from triton import __version__ as triton_version

from benchmarks.gpu.day.aims import SHAPES, aims
from benchmarks.gpu.day.course import Outcome
from benchmarks.machine import Setting

_GPU = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
_SHOWN = 24
"""Most kernels of a step that are shown."""
_CODE = "```"


def page(outcomes: list[Outcome], tests: Path) -> str:
    """Returns the results so far as Markdown; the file `tests` has a line of JSON for each test."""
    figures = {one.name: one.figures for one in outcomes if one.figures}
    sections = [
        _setting(figures),
        "**Aims.** Bold is missed, – was not measured.\n\n"
        + _table(["", "aim", *SHAPES], [aim.cells() for aim in aims(figures)]),
        _parts(outcomes),
        *_tests(tests),
        *(section for name, own in figures.items() if "lines" in own for section in _engine(name, own)),
        *(_log(one) for one in outcomes if one.tail and (one.figures is None or one.status != "done")),
    ]
    return "\n\n".join(sections) + "\n"


def _setting(figures: dict[str, Any]) -> str:
    found = Setting.now("benchmarks.gpu.day")
    ceilings = [own["ceilings"] for own in figures.values() if "ceilings" in own]
    copies = [one["copy_bytes"] / 1e12 for one in ceilings]
    products = [one["matmul_flops"] / 1e12 for one in ceilings]
    rates = f"; a copy moves {_range(copies, 2)} TB/s, a product does {_range(products, 0)} TFLOP/s" if ceilings else ""
    versions = dict(found.versions) | {"triton": triton_version, "CUDA": str(torch.version.cuda)}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"### {_output(*_GPU) or 'No GPU'}\n\n- date: {found.date}\n- machine: {found.machine}{rates}\n"
        f"- versions: {told}\n- code: {_output('git', 'rev-parse', '--short', 'HEAD') or 'unknown'}\n"
        f"- command: `{found.command}`"
    )


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _range(values: Sequence[float], digits: int) -> str:
    least, most = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"


def _parts(outcomes: list[Outcome]) -> str:
    rows = [[one.name, one.status, f"{one.seconds:.0f}", f"{one.limit:.0f}"] for one in outcomes]
    return _table(["part", "", "s", "of at most"], rows)


def _tests(file: Path) -> Iterator[str]:
    """Yields the results of each kind of tests, with the ends of failures."""
    lines: list[dict[str, str]] = []
    for text in file.read_text().splitlines() if file.exists() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:  # the last line was cut off
            break
    for kind in dict.fromkeys(line["of"] for line in lines):
        own = [line for line in lines if line["of"] == kind]
        last = {line["test"]: line for line in own if line["outcome"] == "began"}
        last |= {line["test"]: line for line in own if line["outcome"] in ("passed", "skipped")}
        last |= {line["test"]: line for line in own if line["outcome"] == "failed"}
        counts = {name: sum(line["outcome"] == name for line in last.values()) for name in ("passed", "skipped")}
        told = [f"**{kind.capitalize()}**: {counts['passed']} passed, {counts['skipped']} skipped"]
        told += [f"- did not end: `{test}`" for test, line in last.items() if line["outcome"] == "began"]
        for test, line in last.items():
            if line["outcome"] == "failed":
                told.append(f"- failed: `{test}`\n\n{_CODE}\n{line['tail']}\n{_CODE}")
        yield "\n".join(told)


def _engine(name: str, figures: Any) -> Iterator[str]:
    lines = figures["lines"]
    notes = " ".join(figures["notes"].values())
    yield "\n".join([f"**{name}**: {notes}", *map("- failed: {}".format, figures["failures"])])
    yield _whole(lines)
    alone = [step for line in lines for step in line["alone"]]
    yield _table(
        ["recorded step alone, rows × tokens", "least, µs", "median", "launched", "of the roofline"],
        [[_step(one), *(_micro(one[key]) for key in ("least", "middle", "launched")),
          _share(one["allowed"], one["least"], 1)]
         for one in alone],
    )  # fmt: skip
    if any(line["asked"] for line in lines):
        yield _asked(lines)
    for one in alone:
        if one["kernels"]:
            yield f"{name}, {_step(one)}, kernel by kernel:\n\n{_kernels(one['kernels'])}"


def _whole(lines: list[Any]) -> str:
    return _table(
        ["rows at context", "engine, tokens/s", "of the roofline", "idle", "runner alone", "continuous batching",
         "prompt tokens/s", "of the product"],
        [
            [_rows(line), _count(line["together_decode"]), _share(line["together_decode"], line["together_roofline"]),
             _share(line["idle_share"], 1, 1), _count(line["engine_decode"]), _count(line["continuous_decode"]),
             _count(line["engine_prompt"]), _share(line["prompt_share"], 1)]
            for line in lines
        ],
    )  # fmt: skip


def _asked(lines: list[Any]) -> str:
    return _table(
        ["other requests", "tokens/s", "of greedy ones", "idle", "step and choice alone, µs"],
        [
            [f"{_rows(line)}, {one['asked']}", _count(one["decode"]), _share(one["decode"], line["together_decode"]),
             _share(one["idle_share"], 1, 1), _micro(one["step"])]
            for line in lines for one in line["asked"]
        ],
    )  # fmt: skip


def _kernels(kernels: list[Any]) -> str:
    """Returns the kernels that take longest, in the order of the step."""
    step = sum(one["calls"] * one["behind"] for one in kernels)
    shown = sorted(kernels, key=lambda one: one["calls"] * one["behind"], reverse=True)[:_SHOWN]
    rows: list[list[str]] = []
    for one in (one for one in kernels if one in shown):
        share = _share(one["calls"] * one["behind"], step)
        times = [f"{one['each']:.1f}", f"{one['behind']:.1f}", share]
        allowed = [f"{one['allowed']:.1f}", _share(one["allowed"], one["behind"])] if one["allowed"] else ["–", "–"]
        rows.append([f"`{one['name'][:60]}`", one["part"], str(one["calls"]), *times, *allowed])
    head = ["kernel", "of", "calls", "µs each", "behind the one before", "of the step", "allowed, µs", "of it"]
    return _table(head, rows)


def _log(outcome: Outcome) -> str:
    return f"**{outcome.name}**, {outcome.status}:\n\n{_CODE}\n{outcome.tail}\n{_CODE}"


def _rows(line: Any) -> str:
    return f"{line['batch']} at {line['context']}"


def _step(step: Any) -> str:
    return f"{step['rows']} × {step['tokens']} behind {step['before']}"


def _micro(seconds: float) -> str:
    return _count(seconds * 1e6)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value else "–"


def _share(value: float, of: float, digits: int = 0) -> str:
    """Returns a percentage, or a dash if `of` is 0 or the value is NaN."""
    return f"{value / of:.{digits}%}" if value == value and of else "–"


def _table(head: list[str], rows: list[list[str]]) -> str:
    ruled = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in ruled)
