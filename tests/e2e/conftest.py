import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

from tests.tiny.language_models import write_checkpoint

Checkpoints = Callable[[str], Path]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Returns the folder of a tiny model by its architecture's name; written once."""
    root = tmp_path_factory.mktemp("checkpoints")
    return cache(lambda name: write_checkpoint(root / name, name))
