"""What was measured, as a table and as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers
from rich.console import Console

from benchmarks.gpu.ceilings import Ceilings
from benchmarks.tables import table_of


@dataclass(frozen=True)
class Line:
    """One model at one batch size and context."""

    model: str
    batch: int
    context: int
    engine_decode: float
    """Tokens per second of all rows, by the runner alone."""
    roofline_decode: float
    together_decode: float
    """By the whole engine, while all rows decode; 0 where there was no such time."""
    together_roofline: float
    """At the contexts it has then."""
    idle_share: float
    """Of the GPU's time meanwhile."""
    generate_decode: float
    """0 where it was not measured."""
    continuous_decode: float
    """By transformers' continuous batching, while all rows decode; 0 where it was not measured."""
    engine_prompt: float
    """Tokens of prompts read per second."""
    generate_prompt: float
    prompt_share: float
    """What the engine reads at, as a share of the measured product."""


@dataclass(frozen=True)
class Report:
    """A whole run."""

    ceilings: Ceilings
    lines: list[Line]
    notes: dict[str, str]
    """About each model: its attention, and what else there is to say."""

    def write(self, path: Path) -> None:
        """Writes all of it, with the versions."""
        found = asdict(self) | {
            "gpu": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        path.write_text(json.dumps(found, indent=1) + "\n")

    def show(self, console: Console) -> None:
        """Prints it."""
        console.print(
            f"{torch.cuda.get_device_name()}, torch {torch.__version__}, transformers {transformers.__version__}: copy "
            f"{self.ceilings.copy_bytes / 1e12:.2f} TB/s, product {self.ceilings.matmul_flops / 1e12:.0f} TFLOP/s"
        )
        for name, note in self.notes.items():
            console.print(f"{name}: {note}")
        table = table_of(
            "model", "batch", "context", "decode tok/s", "of roofline", "engine", "of roofline", "idle", "generate",
            "times", "continuous", "times", "prompt tok/s", "of product", "generate",
        )  # fmt: skip
        for line in self.lines:
            table.add_row(
                line.model, str(line.batch), str(line.context), _rate(line.engine_decode),
                _share(line.engine_decode, line.roofline_decode), _rate(line.together_decode),
                _share(line.together_decode, line.together_roofline), f"{line.idle_share:.1%}",
                _rate(line.generate_decode), _times(line.engine_decode, line.generate_decode),
                _rate(line.continuous_decode), _times(line.together_decode, line.continuous_decode),
                _rate(line.engine_prompt), f"{line.prompt_share:.0%}", _rate(line.generate_prompt),
            )  # fmt: skip
        console.print(table)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value else "–"


def _share(value: float, of: float) -> str:
    return f"{value / of:.0%}" if value else "–"


def _times(value: float, other: float) -> str:
    return f"{value / other:.2f}" if value and other else "–"
