"""Checkpoints with random weights, in the shapes of models in wide use: the same on every machine."""

from collections.abc import Callable
from pathlib import Path

SEED = 20_260_101


def made_once(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Returns the folder of a checkpoint, which `make` writes if `cache` does not hold it.

    What is broken off is made again.
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
