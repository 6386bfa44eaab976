"""Tests of this folder need a GPU. Everything runs in this process; what is compared is float32 without TF32."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from services.engine.loading import LoadedModel, load_language_model
from tests.tiny_models import write_checkpoint

GPU = torch.device("cuda:0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="there is no GPU"))


Load = Callable[..., LoadedModel]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = write_checkpoint(tmp_path_factory.mktemp(name), name)
        return made[name]

    return folder


@pytest.fixture(scope="session")
def load(folders: Callable[[str], Path]) -> Load:
    """Returns a fresh copy of a tiny model, as building an engine changes it."""

    def fresh(name: str, device: torch.device = GPU, dtype: str = "float32", quantization: str = "none") -> LoadedModel:
        folder = str(folders(name))
        return load_language_model(folder, revision=None, device=device, dtype=dtype, quantization=quantization)

    return fresh
