"""Caches expensive test objects and checkpoints, and hands out copies."""

import atexit
import shutil
from collections.abc import Callable
from copy import deepcopy
from functools import cache, wraps
from pathlib import Path
from tempfile import mkdtemp
from typing import Concatenate, ParamSpec, TypeVar

import torch

Made = TypeVar("Made")
Asked = ParamSpec("Asked")
Write = Callable[Concatenate[Path, Asked], Path]


def made_once(make: Callable[[], Made]) -> Callable[[], Made]:
    """Wraps `make` so that it runs once. Each caller gets a deep copy, which a test may change."""
    made = cache(make)

    @wraps(make)
    def copied() -> Made:
        return deepcopy(made())

    return copied


def written_once(write: Write[Asked]) -> Write[Asked]:
    """Wraps `write`, which writes a checkpoint to a folder, so that it runs once for the same arguments.

    Each caller gets a copy, which a test may change. torch's generator is left as `write` would leave it.
    `__wrapped__` writes anew, for a test that changes what `write` reads.
    """
    written: dict[str, tuple[Path, torch.Tensor | None]] = {}

    @wraps(write)
    def copied(folder: Path, *given: Asked.args, **named: Asked.kwargs) -> Path:
        asked = repr((given, sorted(named.items())))
        assert " at 0x" not in asked, "an object that is told by its address may have that of another"
        if asked not in written:
            written[asked] = _written(lambda place: write(place, *given, **named))
        place, generator = written[asked]
        shutil.copytree(place, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
        for path in folder.rglob("*.json"):  # a processor's names the folder of its codec
            if str(place) in (text := path.read_text()):
                path.write_text(text.replace(str(place), str(folder)))
        if generator is not None:
            torch.set_rng_state(generator)
        return folder

    return copied


def _written(write: Callable[[Path], object]) -> tuple[Path, torch.Tensor | None]:
    """Returns a folder that `write` filled, and the state of torch's generator behind that; None if it is unchanged."""
    place, before = Path(mkdtemp(prefix="checkpoint-")), torch.get_rng_state()
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    write(place)
    after = torch.get_rng_state()
    return place, None if torch.equal(before, after) else after
