import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from services.engine.loading import LoadedModel, load_language_model
from services.engine.native import library
from tests.services.bench import Bench, BenchMaker, fake_bench, real_bench
from tests.services.fake_runner import FakeRunner
from tests.tiny.language_models import tokenizer as tiny_tokenizer
from tests.tiny.language_models import write_checkpoint

library._COMPILE_SECONDS = 3600
"""Where it ended for one worker in time and for another not, they would not agree on the tests."""


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session")
def llama(llama_folder: Path) -> LoadedModel:
    return load_language_model(str(llama_folder), revision=None, device=torch.device("cpu"), dtype="auto")


@pytest.fixture
def fresh_llama(llama_folder: Path) -> LoadedModel:
    """A private copy: a test may build an accelerated engine over it, which changes the model's modules."""
    return load_language_model(str(llama_folder), revision=None, device=torch.device("cpu"), dtype="auto")


@pytest.fixture(scope="session")
def own_llama(llama_folder: Path) -> PreTrainedModel:
    """The same weights in float32, run by transformers alone."""
    return AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float32).eval()


@pytest.fixture
def loops() -> Callable[[], int]:
    """Counts the threads that run something by turns, but for those that earlier tests of this process have left."""
    earlier = set(threading.enumerate())
    return lambda: sum(thread.name == "turns" and thread not in earlier for thread in threading.enumerate())


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    """A list for engines that the test starts itself: they are closed when it ends."""
    made: list[Bench] = []
    yield made
    for bench in made:
        if isinstance(bench.runner, FakeRunner):
            bench.runner.free()
        bench.engine.close()


@pytest.fixture
def real(llama: LoadedModel, benches: list[Bench]) -> BenchMaker:
    """Makes running engines over the tiny llama."""

    def make(**sizes: int) -> Bench:
        benches.append(real_bench(llama, **sizes))
        return benches[-1]

    return make


@pytest.fixture
def fake(benches: list[Bench]) -> BenchMaker:
    """Makes running engines over a FakeRunner, `bench.runner`, which fails and waits on demand."""

    def make(**sizes: int) -> Bench:
        benches.append(fake_bench(FakeRunner(), **sizes))
        return benches[-1]

    return make
