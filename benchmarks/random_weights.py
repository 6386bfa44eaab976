"""Caches checkpoints with random weights in the shapes of widely used models: the same on every machine."""

from collections.abc import Callable
from pathlib import Path

SEED = 20_260_101


def made_once(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Returns the folder of a checkpoint, which `make` writes to `cache` on first use.

    An interrupted write is repeated.
    """
    folder = cache / "models" / name
    if not folder.exists():
        import torch

        unfinished = folder.with_name(f"{name}.unfinished")
        unfinished.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(SEED)
        make(unfinished)
        unfinished.rename(folder)
    return folder
