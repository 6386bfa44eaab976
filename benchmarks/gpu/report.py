"""What was measured, as a table and as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.table import Table

from benchmarks.gpu.ceilings import Ceilings


@dataclass(frozen=True)
class Line:
    """One model at one batch size and context."""

    model: str
    batch: int
    context: int
    engine_decode: float
    """Tokens per second, of all rows."""
    roofline_decode: float
    generate_decode: float
    """0 where it was not measured."""
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
        table = Table()
        for column in (
            "model", "batch", "context", "decode tok/s", "of roofline", "generate", "times",
            "prompt tok/s", "of product", "generate",
        ):  # fmt: skip
            table.add_column(column, justify="right", no_wrap=True)
        for line in self.lines:
            times = line.engine_decode / line.generate_decode if line.generate_decode else 0.0
            table.add_row(
                line.model, str(line.batch), str(line.context), f"{line.engine_decode:.0f}",
                f"{line.engine_decode / line.roofline_decode:.0%}", f"{line.generate_decode:.0f}", f"{times:.2f}",
                f"{line.engine_prompt:.0f}", f"{line.prompt_share:.0%}", f"{line.generate_prompt:.0f}",
            )  # fmt: skip
        console.print(table)
