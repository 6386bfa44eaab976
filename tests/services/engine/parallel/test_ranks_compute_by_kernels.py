"""Two ranks as on two GPUs: layers with interpreted kernels, and simulated recordings."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from services.engine.checkpoint import Checkpoint
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.speculation import speculation
from services.engine.loading import load_language_model
from services.engine.parallel.group import Rank
from services.engine.parallel.leading import Leading, divided
from services.text.config import TextSettings
from services.text.rank import letter_to
from tests.fakes.forked_ranks import forked_ranks
from tests.services.bench import Bench, assemble, real_bench
from tests.services.engine.kernel_devices import INTERPRETED
from tests.services.structures import regex
from tests.tiny.language_models import greedy, random_model, tokenizer

pytest.importorskip("triton")
from tests.fakes.interpreted_rank import REPLACED

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")
PROMPTS = [[7, 8, 9], [*range(20, 38)]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with biases in all layers, which have to be added only once."""
    config = LlamaConfig(
        vocab_size=len(tokenizer()), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, attention_bias=True, mlp_bias=True,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = random_model(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    target = tmp_path_factory.mktemp("biased")
    model.save_pretrained(target)
    tokenizer().save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def two(folder: Path) -> Iterator[Bench]:
    """An engine over two ranks."""
    settings = TextSettings(model=str(folder), device="cpu", dtype="float32", tensor_parallel=2, max_sequences=2)
    checkpoint = divided(Checkpoint(str(folder), CPU, dtype="float32"), "auto", Rank(0, 2))
    with forked_ranks(), pytest.MonkeyPatch.context() as patch:
        for module, name, other in REPLACED:
            patch.setattr(module, name, other)
        ranks = Leading(checkpoint, None, 30.0, "tests.fakes.interpreted_rank", lambda rank: letter_to(rank, settings))
        loaded = load_language_model(str(folder), revision=None, device=CPU, dtype="float32", rank_count=2)
        runner = ranks.parts(loaded, EngineSettings(max_sequences=2)).runner
    kinds = [type(layer).__name__ for layer in loaded.model.model.layers]
    assert kinds == ["GpuDecoderLayer"]
    bench = assemble(runner, 16, max_sequences=2)
    yield bench
    bench.engine.close()
    ranks.close()


async def test_greedy_tokens_are_those_of_generate(two: Bench, folder: Path) -> None:
    found = await asyncio.gather(*(two.run(prompt, max_new_tokens=5) for prompt in PROMPTS))
    assert [result.ids for result in found] == [greedy(folder, prompt, 5) for prompt in PROMPTS]
    assert two.runner.recorded.ahead > 1


async def test_proposed_tokens_are_checked_by_all_ranks(
    two: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speculation, "_ALLOWANCE", 100.0)
    found = await two.run([7, 8] * 5, max_new_tokens=14, lookup=PromptLookup(3, 1))
    assert found.ids == greedy(folder, [7, 8] * 5, 14)
    assert found.completed.proposed_token_count > 0


async def test_drawn_tokens_are_those_of_one_process(two: Bench, folder: Path) -> None:
    """The first rank draws, after the step's forward if a structure has to be followed; the others take its tokens."""
    alone = real_bench(load_language_model(str(folder), revision=None, device=CPU, dtype="float32"))
    drawn: dict[str, Any] = {"temperature": 3.0, "seed": 3, "max_new_tokens": 6}
    letters = regex("[a-z]{40}")
    before = two.runner.recorded.ahead
    try:
        found, expected = [
            await asyncio.gather(bench.run(PROMPTS[0], **drawn), bench.run(PROMPTS[1], **drawn, structure=letters))
            for bench in (two, alone)
        ]
    finally:
        alone.engine.close()
    assert [result.ids for result in found] == [result.ids for result in expected]
    assert two.runner.recorded.ahead > before + 1
