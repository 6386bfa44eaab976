from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from services.engine.loading import LoadedModel, load_causal_lm
from tests.services.bench import Bench, BenchMaker, fake_bench, real_bench
from tests.services.fake_runner import FakeRunner
from tests.tiny_models import tokenizer as tiny_tokenizer
from tests.tiny_models import write_checkpoint


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session")
def llama(llama_folder: Path) -> LoadedModel:
    return load_causal_lm(str(llama_folder), revision=None, device=torch.device("cpu"), dtype="auto")


@pytest.fixture
def fresh_llama(llama_folder: Path) -> LoadedModel:
    """One that a test may build an engine for: that changes the model's modules."""
    return load_causal_lm(str(llama_folder), revision=None, device=torch.device("cpu"), dtype="auto")


@pytest.fixture(scope="session")
def own_llama(llama_folder: Path) -> PreTrainedModel:
    """The same weights, run by transformers alone."""
    return AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float32).eval()


@pytest.fixture
def real(llama: LoadedModel) -> Iterator[BenchMaker]:
    """Makes running engines over the tiny llama."""
    benches: list[Bench] = []

    def make(**sizes: int) -> Bench:
        benches.append(real_bench(llama, **sizes))
        return benches[-1]

    yield make
    for bench in benches:
        bench.engine.close()


@pytest.fixture
def fake() -> Iterator[BenchMaker]:
    """Makes running engines over a fake runner, `bench.runner`, that fails and waits on demand."""
    benches: list[Bench] = []

    def make(**sizes: int) -> Bench:
        benches.append(fake_bench(FakeRunner(), **sizes))
        return benches[-1]

    yield make
    for bench in benches:
        bench.runner.free()
        bench.engine.close()
