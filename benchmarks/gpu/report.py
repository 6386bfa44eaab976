"""The results of a run, as tables and as JSON."""

import json
import math
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.table import Table

from benchmarks.gpu.alone import Alone
from benchmarks.gpu.ceilings import Ceilings
from benchmarks.tables import table_of

_LONGEST_FAILURE = 2000


@dataclass(frozen=True)
class AskedLine:
    """The whole engine with one kind of requests."""

    asked: str
    decode: float
    """Tokens per second while all rows decode; 0 if they never did."""
    roofline: float
    """Tokens per second that memory allows at the same contexts."""
    idle_share: float
    """Share of that time in which the GPU was idle, if steps are launched ahead."""
    step: float = 0.0
    """Seconds of a recorded step alone with its choice of tokens; 0 if tokens are not chosen on the GPU."""


@dataclass(frozen=True)
class Line:
    """One model with one batch size and context."""

    model: str
    batch: int
    context: int
    engine_decode: float
    """Tokens per second of all rows, by the runner alone."""
    roofline_decode: float
    together_decode: float
    """Tokens per second of the whole engine while all rows decode; 0 if they never did."""
    together_roofline: float
    """Tokens per second that memory allows at the same contexts."""
    idle_share: float
    """Share of that time in which the GPU was idle."""
    generate_decode: float
    """0 if not measured."""
    continuous_decode: float
    """transformers' continuous batching while all rows decode; 0 if not measured."""
    engine_prompt: float
    """Prompt tokens read per second."""
    generate_prompt: float
    prompt_share: float
    """The engine's FLOP per second while reading prompts, relative to the measured product."""
    alone: list[Alone] = field(default_factory=list[Alone])
    """Recorded steps alone."""
    asked: list[AskedLine] = field(default_factory=list[AskedLine])
    """Other kinds of requests than greedy ones."""


@dataclass
class Report:
    """The results of a whole run."""

    ceilings: Ceilings
    path: Path | None
    """File to be written, if any."""
    lines: list[Line] = field(default_factory=list[Line])
    notes: dict[str, str] = field(default_factory=dict[str, str])
    """Remarks by model: its attention backend and the like."""
    failures: list[str] = field(default_factory=list[str])

    @contextmanager
    def attempt(self, name: str) -> Generator[None]:
        """Logs the failure of a measurement, so that the next ones go on."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.failures.append(f"{name}: {error!r}"[:_LONGEST_FAILURE])
            self.write()

    def write(self) -> None:
        """Writes all results so far and the versions, by an atomic rename."""
        if self.path is None:
            return
        found = {
            "gpu": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "ceilings": asdict(self.ceilings),
            "lines": [asdict(line) for line in self.lines],
            "notes": self.notes,
            "failures": self.failures,
        }
        whole = self.path.with_suffix(".whole")
        whole.write_text(json.dumps(found, indent=1) + "\n")
        whole.replace(self.path)

    def show(self, console: Console) -> None:
        """Prints all tables."""
        console.print(
            f"{torch.cuda.get_device_name()}, torch {torch.__version__}, transformers {transformers.__version__}: copy "
            f"{self.ceilings.copy_bytes / 1e12:.2f} TB/s, product {self.ceilings.matmul_flops / 1e12:.0f} TFLOP/s"
        )
        for name, note in self.notes.items():
            console.print(f"{name}: {note}")
        for failure in self.failures:
            console.print(f"failed: {failure}")
        table = table_of(
            "model", "batch", "context", "decode tok/s", "of roofline", "engine", "of roofline", "idle", "generate",
            "times", "continuous", "times", "prompt tok/s", "of product", "generate",
        )  # fmt: skip
        for line in self.lines:
            table.add_row(
                line.model, str(line.batch), str(line.context), _rate(line.engine_decode),
                _share(line.engine_decode, line.roofline_decode), _rate(line.together_decode),
                _share(line.together_decode, line.together_roofline), _part(line.idle_share),
                _rate(line.generate_decode), _times(line.engine_decode, line.generate_decode),
                _rate(line.continuous_decode), _times(line.together_decode, line.continuous_decode),
                _rate(line.engine_prompt), f"{line.prompt_share:.0%}", _rate(line.generate_prompt),
            )  # fmt: skip
        console.print(table)
        console.print(self._alone())
        if any(line.asked for line in self.lines):
            console.print(self._asked())

    def _alone(self) -> Table:
        table = table_of("recorded step alone", "least, us", "median", "launched", "allowed", "of it")
        for line in self.lines:
            for step in line.alone:
                times = (f"{seconds * 1e6:,.0f}" for seconds in (step.least, step.middle, step.launched, step.allowed))
                table.add_row(f"{line.model}, {step.name}", *times, f"{step.allowed / step.least:.1%}")
        return table

    def _asked(self) -> Table:
        table = table_of("engine", "tok/s", "of greedy", "of roofline", "idle", "step and choice alone, us")
        for line in self.lines:
            for one in line.asked:
                table.add_row(
                    f"{line.model}, {line.batch} at {line.context}, {one.asked}", _rate(one.decode),
                    _share(one.decode, line.together_decode), _share(one.decode, one.roofline),
                    _part(one.idle_share), _rate(one.step * 1e6),
                )  # fmt: skip
        return table


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value else "–"


def _share(value: float, of: float) -> str:
    return f"{value / of:.0%}" if value and of else "–"


def _part(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _times(value: float, other: float) -> str:
    return f"{value / other:.2f}" if value and other else "–"
