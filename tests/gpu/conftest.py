"""Tests of this folder need a GPU. All runs in this process; results are compared in float32 without TF32."""

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from services.engine.loading import LoadedModel, load_language_model
from tests.services.bench import Bench, built_bench, real_bench
from tests.tiny.language_models import write_checkpoint

FOLDER = f"{Path(__file__).parent}/"
GPU = torch.device("cuda:0")
NEW_TOKENS = 24
_SOURCE = random.Random(7)
PROMPTS = [[_SOURCE.randrange(6, 320) for _ in range(length)] for length in (1, 5, 17, 33, 48, 90)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if str(item.path).startswith(FOLDER):
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="there is no GPU"))


Load = Callable[..., LoadedModel]
Start = Callable[..., Bench]


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
    """Returns a fresh copy of a tiny model, since building an engine changes it."""

    def fresh(name: str, device: torch.device = GPU, dtype: str = "float32", quantization: str = "none") -> LoadedModel:
        folder = str(folders(name))
        return load_language_model(folder, revision=None, device=device, dtype=dtype, quantization=quantization)

    return fresh


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a service's engine over a model; or one with the reference attention."""
    benches: list[Bench] = []

    def make(loaded: LoadedModel, *, plain: bool = False, **sizes: Any) -> Bench:
        benches.append(real_bench(loaded, **sizes) if plain else built_bench(loaded, **sizes))
        return benches[-1]

    yield make
    for bench in benches:
        bench.engine.close()


async def all_of(bench: Bench, **fields: Any) -> list[list[int]]:
    """Returns the continuations of all prompts, requested at once."""
    asked = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS} | fields
    results = await asyncio.gather(*(bench.run(prompt, **asked) for prompt in PROMPTS))
    return [result.ids for result in results]
