"""Two ranks that each round their own part of the weights to 8 bits, compared with one model with the same numbers."""

import asyncio
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import LlamaConfig, PretrainedConfig, Qwen3MoeConfig

from services.engine import checkpoint as reading
from services.engine.checkpoint import Checkpoint
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.speculation import speculation
from services.engine.loading import load_language_model
from services.engine.narrow.model import narrow_count
from services.engine.narrow.numbers import NarrowKind, narrowed
from services.engine.parallel import narrow_reading
from services.engine.parallel.group import Rank
from services.engine.parallel.leading import Leading, divided
from services.text.config import TextSettings
from services.text.rank import letter_to
from tests.fakes.forked_ranks import forked_ranks
from tests.services.bench import assemble
from tests.services.engine.kernel_devices import INTERPRETED
from tests.services.engine.parallel.rounded_parts import by_hand, generated
from tests.tiny.language_models import random_model, tokenizer

pytest.importorskip("triton")
from tests.fakes.interpreted_rank import REPLACED

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")
PROMPTS = [[7, 8, 9], [*range(20, 38)]]
SHAPE: dict[str, Any] = {
    "vocab_size": len(tokenizer()), "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "attention_bias": True, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


LARGEST = 8 * 2 * 32 * 32 // 2
"""Numbers of the half of the experts' first weights: no rank need hold more at once."""


@dataclass(frozen=True)
class Case:
    """A model that two ranks serve, and the module that each rank runs."""

    kind: NarrowKind
    config: PretrainedConfig
    module: str
    replaced: tuple[tuple[Any, str, Any], ...]


CASES = {
    # Interpreted kernels and simulated recordings; all layers have biases, which have to be added only once.
    "recorded": Case(
        "int8", LlamaConfig(**SHAPE, intermediate_size=64, num_hidden_layers=1, mlp_bias=True),
        "tests.fakes.interpreted_rank", REPLACED,
    ),
    # Weights are converted at each call; one layer is dense, one has experts.
    "plain": Case(
        "fp8_e4m3",
        Qwen3MoeConfig(
            **SHAPE, head_dim=8, intermediate_size=64, num_hidden_layers=2, num_experts=8, num_experts_per_tok=3,
            moe_intermediate_size=32, mlp_only_layers=[0], decoder_sparse_step=1,
        ),
        "tests.fakes.narrow_rank", ((reading, "unsuitable", lambda *_: ""),),
    ),
}  # fmt: skip


class Reading(TorchDispatchMode):
    """Records what a rank holds while it reads weights."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        """Numbers of a tensor; of those that show a part of the file nothing is held."""
        self._wide: list[weakref.ref[Tensor]] = []
        self.wide_at_once = 0
        """Weights that were rounded, and not gone when the next one was."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {each.untyped_storage().data_ptr() for each in _held((args, kwargs))}
        found = func(*args, **(kwargs or {}))
        if func is not torch.ops.aten.set_.source_Storage:
            sizes = [each.numel() for each in _held(found) if each.untyped_storage().data_ptr() not in known]
            self.largest = max(self.largest, *sizes, 0)
        return found

    def narrowed(self, weight: Tensor, kind: NarrowKind) -> Any:
        self._wide.append(weakref.ref(weight))
        self.wide_at_once = max(self.wide_at_once, sum(each() is not None for each in self._wide))
        return narrowed(weight, kind)


def _held(tree: Any) -> list[Tensor]:
    return [each for each in tree_iter(tree) if type(each) is Tensor and not each.is_meta]


class Two:
    """A model over two ranks, and transformers' own with the weights of both ranks."""

    def __init__(self, folder: Path, case: Case) -> None:
        written(folder, case.config)
        self.case, self.reading = case, Reading()
        self.alone, self.rounded = by_hand(folder, case.kind)
        asked: dict[str, Any] = {"dtype": "float32", "quantization": case.kind}
        settings = TextSettings(model=str(folder), device="cpu", tensor_parallel=2, max_sequences=2, **asked)
        checkpoint = divided(Checkpoint(str(folder), CPU, **asked), "auto", Rank(0, 2))
        with forked_ranks(), pytest.MonkeyPatch.context() as patch:
            for place, name, other in case.replaced:
                patch.setattr(place, name, other)
            patch.setattr(narrow_reading, "narrowed", self.reading.narrowed)
            self.ranks = Leading(checkpoint, None, 30.0, case.module, lambda rank: letter_to(rank, settings))
            with self.reading:
                self.loaded = load_language_model(str(folder), revision=None, device=CPU, rank_count=2, **asked)
            self.read = {name: numbers for name, (numbers, _) in self.loaded.model.hf_quantizer.read.items()}
            self.parts = self.ranks.parts(self.loaded, EngineSettings(max_sequences=2))
        self.bench = assemble(self.parts.runner, 16, max_sequences=2)

    def generate(self, prompt: list[int], count: int) -> list[int]:
        return generated(self.alone, prompt, count)

    def close(self) -> None:
        self.bench.engine.close()
        self.ranks.close()


def written(folder: Path, config: PretrainedConfig) -> None:
    model = random_model(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


@pytest.fixture(scope="module", params=CASES)
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    made = Two(tmp_path_factory.mktemp(request.param), CASES[request.param])
    yield made
    made.close()


def test_a_rank_reads_its_part_and_rounds_one_weight_after_another(two: Two) -> None:
    assert two.read.keys() == two.rounded.keys()
    for name, numbers in two.rounded.items():
        assert torch.equal(two.read[name].float(), numbers.float()), name
    assert two.reading.largest <= LARGEST
    assert two.reading.wide_at_once == 1


def test_numbers_are_told_of_the_whole_model(two: Two) -> None:
    assert two.loaded.parameter_count == two.alone.num_parameters()
    assert two.loaded.rounded_parameter_count == 2 * sum(numbers.numel() for numbers in two.rounded.values())
    assert two.loaded.quantization == two.case.kind


async def test_greedy_tokens_are_those_of_the_rounded_weights(two: Two) -> None:
    found = await asyncio.gather(*(two.bench.run(prompt, max_new_tokens=5) for prompt in PROMPTS))
    assert [result.ids for result in found] == [two.generate(prompt, 5) for prompt in PROMPTS]


@pytest.mark.parametrize("two", ["recorded"], indirect=True)
async def test_steps_are_recorded_and_proposed_tokens_checked(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [type(module).__name__ for module in two.loaded.model.modules()]
    assert (kinds.count("GpuDecoderLayer"), kinds.count("GpuNarrowLinear")) == (1, 4)
    assert two.bench.runner.recorded.ahead > 1
    monkeypatch.setattr(speculation, "_ALLOWANCE", 100.0)
    found = await two.bench.run([7, 8] * 5, max_new_tokens=8, lookup=PromptLookup(3, 1))
    assert found.ids == two.generate([7, 8] * 5, 8)
    assert found.completed.proposed_token_count > 0


@pytest.mark.parametrize("two", ["plain"], indirect=True)
def test_layers_and_experts_hold_a_byte_for_each_weight_of_a_rank(two: Two) -> None:
    kinds = [type(module).__name__ for module in two.loaded.model.modules()]
    assert (kinds.count("NarrowLinear"), kinds.count("NarrowExperts"), kinds.count("SummedExperts")) == (
        4 + 3 + 4,
        1,
        1,
    )
    assert narrow_count(two.loaded.model) * 2 == two.loaded.rounded_parameter_count
