"""transformers' own models, read once for all that is compared with them."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch


def own(kind: Any, folder: Path) -> Any:
    """Returns a checkpoint in float32 by a class that reads some. Others get the same: who changes it takes a copy."""
    return _read(kind, folder, max(path.stat().st_mtime_ns for path in folder.iterdir()))


@lru_cache(4)
def _read(kind: Any, folder: Path, written: int) -> Any:
    """`written` is when the newest of its files was: another model may be written where one was."""
    return kind.from_pretrained(folder, dtype=torch.float32).eval()
