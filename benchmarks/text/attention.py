"""`python -m benchmarks.text.attention --against REVISION`: compares the native attention with that of a revision.

Both are compiled with the same flags; `--march` chooses the instruction set. They run by turns. Each figure is the
least of many calls by one thread, since other load can only add time.
"""

import ctypes
import io
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.process import ROOT
from services.engine.generation.attention.cpu import PAGE_SIZE, LayerStruct, RowStruct
from services.engine.native.library import FLAGS, FOLDER, KINDS, SOURCE


@dataclass(frozen=True)
class Work:
    """A batch for attention: rows with new tokens at the end of their context; head dimension 64."""

    rows: int
    new: int
    context: int
    heads: int = 16
    kv_heads: int = 4
    width: int = 64


WORKS = {
    "1 row behind 1,024 tokens": Work(1, 1, 1024),
    "8 rows behind 1,024 tokens": Work(8, 1, 1024),
    "1 row, no heads shared": Work(1, 1, 1024, 12, 12),
    "512 new tokens": Work(1, 512, 512, 8, 2),
    "512 new tokens, heads of 128": Work(1, 512, 512, 8, 2, 128),
}


def compiled(sources: Path, target: Path, march: str) -> ctypes.CDLL:
    """Compiles the library from the sources in a folder into `target` and loads it."""
    command = ["cc", *FLAGS, f"-march={march}", "-Wno-psabi", str(sources / SOURCE.name), "-o", str(target), "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(target))


def sources_of(revision: str, folder: Path) -> Path:
    """Writes the library's sources of a git revision below `folder` and returns their folder."""
    own = FOLDER.relative_to(ROOT)
    command = ["git", "archive", revision, str(own)]
    packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / own


class Call:
    """One attention call with its inputs, which can run on any build of the library."""

    def __init__(self, work: Work, dtype: torch.dtype) -> None:
        pages = -(-work.context // PAGE_SIZE)
        numbers = work.rows * pages * work.kv_heads * work.width * PAGE_SIZE
        self._cache = [torch.randn(numbers).to(dtype) for _ in ("keys", "values")]
        self._queries = torch.randn(work.rows * work.new, work.heads * work.width).to(dtype)
        self._table = torch.arange(work.rows * pages)
        rows = [
            RowStruct(self._table[row * pages :].data_ptr(), row * work.new, work.new, work.context)
            for row in range(work.rows)
        ]
        self._rows = (RowStruct * work.rows)(*rows)
        self._layer = LayerStruct(work.heads, work.kv_heads, work.width, work.width, 0, work.width**-0.5)
        self._name = f"attend_{KINDS[dtype]}"

    def __call__(self, library: ctypes.CDLL) -> tuple[float, Tensor]:
        """Runs it; returns the seconds it took and the output, `[tokens, heads * width]`."""
        output, stride, (keys, values) = torch.empty_like(self._queries), self._queries.shape[1], self._cache
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        attend = getattr(library, self._name)
        begun = time.perf_counter()
        attend(
            ctypes.byref(self._layer), self._rows, number(len(self._rows)),
            pointer(self._queries.data_ptr()), number(stride), pointer(keys.data_ptr()), pointer(values.data_ptr()),
            pointer(output.data_ptr()), number(stride), number(1),
        )  # fmt: skip
        return time.perf_counter() - begun, output


def main(
    against: Annotated[str, typer.Option(help="Revision of git that it is compared with.")] = "HEAD",
    march: Annotated[str, typer.Option(help="Level of processors, as the compiler names it.")] = "native",
    calls: Annotated[int, typer.Option(min=1, help="Calls of each library and line.")] = 40,
) -> None:
    """Prints milliseconds of both libraries, and the difference of their results."""
    table = Table("", "type", "before, ms", "now, ms", "before ÷ now", "most apart")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = compiled(sources_of(against, folder), folder / "before.so", march)
        now = compiled(FOLDER, folder / "now.so", march)
        for name, work in WORKS.items():
            for dtype, kind in KINDS.items():
                call = Call(work, dtype)
                least, results = [float("inf")] * 2, [torch.empty(0)] * 2
                for _ in range(calls):
                    for place, library in enumerate((before, now)):
                        seconds, results[place] = call(library)
                        least[place] = min(least[place], seconds)
                apart = float((results[0].float() - results[1].float()).abs().max())
                old, new = (1000 * seconds for seconds in least)
                table.add_row(name, kind, f"{old:.3f}", f"{new:.3f}", f"{old / new:.2f}", f"{apart:.0e}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
