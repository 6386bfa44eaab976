"""Reference models loaded by plain transformers, cached for all tests that compare with them."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch


def own(kind: Any, folder: Path) -> Any:
    """Loads a checkpoint in float32 with the model class `kind`. Callers share it: copy it before changing it."""
    return _read(kind, folder, max(path.stat().st_mtime_ns for path in folder.iterdir()))


@lru_cache(4)
def _read(kind: Any, folder: Path, written: int) -> Any:
    """`written` is the newest mtime in the folder: it invalidates the cache when a test overwrites the checkpoint."""
    return kind.from_pretrained(folder, dtype=torch.float32).eval()
