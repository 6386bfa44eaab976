"""Two ranks as on two GPUs, each with weights of 8 bits that it has rounded itself: see test_ranks_compute_by_kernels."""

import asyncio
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig, PretrainedConfig

from services.engine.checkpoint import Checkpoint
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.speculation import speculation
from services.engine.loading import LoadedModel, load_language_model
from services.engine.narrow.numbers import NarrowKind, narrowed, widened
from services.engine.parallel import narrow_reading
from services.engine.parallel.group import Rank
from services.engine.parallel.leading import Leading, divided
from services.text.config import TextSettings
from services.text.follower import letter_to
from tests.services.bench import Bench, assemble
from tests.services.engine.kernel_devices import INTERPRETED
from tests.tiny_models import random_model, tokenizer

pytest.importorskip("triton")
from tests.fakes.interpreted_rank import REPLACED

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")
PROMPTS = [[7, 8, 9], [*range(20, 38)]]
SHAPE: dict[str, Any] = {
    "vocab_size": len(tokenizer()), "hidden_size": 32, "intermediate_size": 384, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CASES: dict[NarrowKind, PretrainedConfig] = {
    "int8": LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True),
    "fp8_e4m3": MixtralConfig(**SHAPE | {"intermediate_size": 64}, num_local_experts=4),
}
SUMMED = ("o_proj.weight", "down_proj.weight", "experts.down_proj")
LARGEST = {"int8": 384 * 32 // 2, "fp8_e4m3": 4 * 2 * 64 * 32 // 2}
"""Half of the largest weight; half of the embedding is smaller."""


class Reading(TorchDispatchMode):
    """Sees what a rank holds while it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        """Numbers of a tensor."""
        self.wide: list[weakref.ref[Tensor]] = []
        self.wide_at_once = 0
        """Weights that were rounded and had not gone yet when the next one was."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        sizes = [each.numel() for each in tree_iter(found) if type(each) is Tensor and not each.is_meta]
        self.largest = max(self.largest, *sizes, 0)
        return found

    def narrowed(self, weight: Tensor, kind: NarrowKind) -> Any:
        self.wide.append(weakref.ref(weight))
        self.wide_at_once = max(self.wide_at_once, sum(each() is not None for each in self.wide))
        return narrowed(weight, kind)


def written(folder: Path, config: PretrainedConfig) -> Path:
    """Writes a random model with biases that are to be added once."""
    model = random_model(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def rounded(weight: Tensor, kind: NarrowKind) -> Tensor:
    return widened(*narrowed(weight, kind), torch.empty_like(weight))


def by_hand(folder: Path, kind: NarrowKind) -> Any:
    """Returns transformers' own model with the weights that two ranks have: sums are rounded in two parts."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() < 2 or any(kept in name for kept in ("embed", "lm_head", "gate.weight")):
                continue
            parts = weight.chunk(2, dim=-1) if name.endswith(SUMMED) else [weight]
            weight.copy_(torch.cat([rounded(part, kind) for part in parts], dim=-1))
    return model


class Two:
    """A model over two ranks, and what it is to compute."""

    def __init__(self, folder: Path, kind: NarrowKind) -> None:
        self.kind, self.model, self.reading = kind, by_hand(folder, kind), Reading()
        asked: dict[str, Any] = {"dtype": "float32", "quantization": kind}
        settings = TextSettings(model=str(folder), device="cpu", tensor_parallel=2, max_sequences=2, **asked)
        checkpoint = divided(Checkpoint(str(folder), CPU, **asked), "auto", Rank(0, 2))
        module = "tests.fakes.interpreted_rank"
        with pytest.MonkeyPatch.context() as patch:
            for place, name, other in REPLACED:
                patch.setattr(place, name, other)
            patch.setattr(narrow_reading, "narrowed", self.reading.narrowed)
            self.ranks = Leading(checkpoint, None, 30.0, module, lambda rank: letter_to(rank, settings))
            with self.reading:
                self.loaded = self.load(folder, asked)
            self.parts = self.ranks.parts(self.loaded, EngineSettings(max_sequences=2))
        self.bench = assemble(self.parts.runner, 16, max_sequences=2)

    @staticmethod
    def load(folder: Path, asked: dict[str, Any]) -> LoadedModel:
        return load_language_model(str(folder), revision=None, device=CPU, rank_count=2, **asked)

    def generate(self, prompt: list[int], count: int) -> list[int]:
        return self.model.generate(torch.tensor([prompt]), max_new_tokens=count, do_sample=False)[0, len(prompt) :].tolist()

    def close(self) -> None:
        self.bench.engine.close()
        self.ranks.close()


@pytest.fixture(scope="module", params=CASES)
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    made = Two(written(tmp_path_factory.mktemp(request.param), CASES[request.param]), request.param)
    yield made
    made.close()


async def test_greedy_tokens_are_those_of_the_rounded_weights(two: Two) -> None:
    for name, m in two.loaded.model.named_modules(): print(name, type(m).__name__)
    found = await asyncio.gather(*(two.bench.run(prompt, max_new_tokens=5) for prompt in PROMPTS))
    assert [result.ids for result in found] == [two.generate(prompt, 5) for prompt in PROMPTS]
    assert two.bench.runner.recorded.ahead > 1


def test_no_rank_ever_holds_a_whole_weight_or_two_wide_ones(two: Two) -> None:
    print(two.reading.largest, two.reading.wide_at_once, two.loaded.rounded_parameter_count, two.loaded.parameter_count, two.parts.rank_bytes)
