"""Replaces a model's folder as a whole by a newly trained one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MODELS = Path(__file__).parents[1]


@contextmanager
def replaced(output: Path) -> Generator[Path]:
    """Yields a new world-readable folder to fill; afterwards two renames put it in the place of `output`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    ready = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    ready.chmod(0o755)
    yield ready
    for path in ready.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    old = output.with_name(output.name + ".old")
    if output.exists():
        output.rename(old)
    ready.rename(output)
    shutil.rmtree(old, ignore_errors=True)
