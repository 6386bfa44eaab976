import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralExperts

from services.engine.acceleration.packing import pack_linears
from services.engine.fusion.experts import FusedExperts
from services.engine.fusion.substitution import Substitutions, fuse
from services.engine.generation.attention.cpu import PAGE_SIZE, CpuAttention
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.building.verification import engine_logits, model_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel, load_language_model
from services.engine.native.arena import Arena
from services.engine.native.library import load_library
from tests.tiny.language_models import CONFIGS, write_checkpoint

LIBRARY = load_library()
pays = LIBRARY is not None and all(LIBRARY.linear_pays.values())
pytestmark = pytest.mark.skipif(not pays, reason="torch's linear layers are faster on this machine")

CPU = torch.device("cpu")
PROMPTS = torch.randint(320, (2, 40), generator=torch.Generator().manual_seed(5))
KINDS = {
    "llama": "3 FusedDecoderLayer, 1 FusedNorm, 1 NativeLinear",
    "qwen3": "3 FusedDecoderLayer, 1 FusedNorm, 1 NativeLinear",
    "gemma3": "7 FusedDecoderLayer, 1 FusedNorm, 1 NativeLinear",
    "gemma2": "3 FusedDecoderLayer, 1 FusedNorm, 1 NativeLinear",
    "mistral": "3 FusedDecoderLayer, 1 FusedNorm, 1 NativeLinear",
    "mixtral": "3 FusedAttention, 3 FusedExperts, 7 FusedNorm, 1 NativeLinear",
    "gpt_oss": "3 FusedExperts, 7 FusedNorm, 13 NativeLinear",  # its attention is given half as many angles as others'
    "gpt2": "1 NativeLinear",
    "wide_llama": "2 FusedDecoderLayer, 1 FusedNorm, 1 NativeLinear",
}


class Engine:
    """A model behind its runner, with or without fused modules."""

    def __init__(self, folder: Path, dtype: str = "float32") -> None:
        self.loaded: LoadedModel = load_language_model(str(folder), revision=None, device=CPU, dtype=dtype)
        cache = KVCache(probe_layouts(self.loaded), 64, PAGE_SIZE, CPU)
        assert LIBRARY is not None
        self.backend = CpuAttention(LIBRARY)
        self.pool = PagePool(64, PAGE_SIZE)
        self.runner = ModelRunner(self.loaded.model, self.backend, cache, CPU)
        self.own = model_logits(self.loaded, PROMPTS)
        self.run = partial(engine_logits, self.runner, self.pool)
        self.substitutions = Substitutions(self.loaded.model)

    def accelerate(self) -> None:
        model, arena = self.loaded.model, Arena()
        assert LIBRARY is not None
        fuse(self.substitutions, model, self.backend, LIBRARY, arena, partial(self.run, PROMPTS))
        pack_linears(self.substitutions, model, LIBRARY, arena)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_computes_its_own_logits(name: str, tmp_path: Path) -> None:
    engine = Engine(write_checkpoint(tmp_path, name))
    engine.accelerate()
    assert engine.substitutions.counts() == KINDS[name]
    torch.testing.assert_close(engine.run(PROMPTS), engine.own, rtol=1e-3, atol=1e-4)
    engine.substitutions.undo()
    torch.testing.assert_close(engine.run(PROMPTS), engine.own, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3", "mixtral"])
def test_in_bfloat16_it_is_no_further_from_the_truth_than_the_models_own_modules(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, name)
    exact = Engine(folder).own
    engine = Engine(folder, "bfloat16")
    engine.accelerate()
    assert (engine.run(PROMPTS) - exact).norm() < 1.2 * (engine.own - exact).norm()


def test_a_module_that_computes_something_else_is_left_alone(llama_folder: Path) -> None:
    engine = Engine(llama_folder)
    layers = engine.loaded.model.model.layers
    own = layers[0].mlp.forward
    layers[0].mlp.forward = lambda hidden: 2 * own(hidden)
    layers[1].input_layernorm.variance_epsilon = 3.0  # differs from the layer's other norm
    engine.accelerate()
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["LlamaDecoderLayer", "LlamaDecoderLayer", "FusedDecoderLayer"]
    assert type(layers[0].mlp).__name__ == "LlamaMLP"
    assert type(layers[1].mlp).__name__ == "FusedMlp"


def test_what_another_rank_refuses_is_left_alone(llama_folder: Path) -> None:
    engine = Engine(llama_folder)
    asked = list[bool]()

    def agreed(holds: bool) -> bool:
        asked.append(holds)
        return holds and len(asked) != 2  # the other rank's first layer gives other results

    engine.substitutions = Substitutions(engine.loaded.model, agreed)
    engine.accelerate()
    kinds = [type(layer).__name__ for layer in engine.loaded.model.model.layers]
    assert kinds == ["LlamaDecoderLayer", "FusedDecoderLayer", "FusedDecoderLayer"]
    torch.testing.assert_close(engine.run(PROMPTS), engine.own, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_logits_are_the_same_bits_alone_in_a_batch_and_in_any_chunks(name: str, dtype: str, tmp_path: Path) -> None:
    engine = Engine(write_checkpoint(tmp_path, name), dtype)
    engine.accelerate()
    prompts = torch.randint(320, (5, 100), generator=torch.Generator().manual_seed(7)).tolist()
    alone = [logits(engine, [prompt], [[100]])[0] for prompt in prompts]
    together = logits(engine, prompts, [[7, 1, 64, 27, 1], [1, 9, 3, 87], [100], [50, 50], [33, 33, 33, 1]])
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_the_last_layer_computes_only_what_is_read_of_it(llama_folder: Path) -> None:
    engine = Engine(llama_folder)
    engine.accelerate()
    outputs: list[Tensor] = []
    for layer in engine.loaded.model.model.layers:
        layer.register_forward_hook(lambda _module, _arguments, output: outputs.append(output[0]))
    sequences = [CachedTokens(ids) for ids in PROMPTS.tolist()]
    for sequence in sequences:
        engine.pool.grow(sequence.pages, len(sequence.token_ids))
    engine.runner.run([Row(sequences[0], 40, scored=7), Row(sequences[1], 20)])
    computed = [output.any(dim=-1).nonzero().flatten().tolist() for output in outputs]
    assert computed == [list(range(60)), list(range(60)), [*range(7), 39]]


def logits(engine: Engine, prompts: list[list[int]], chunks: list[list[int]]) -> list[Tensor]:
    """Returns the last logits of each prompt, computed together in chunks of these sizes."""
    sequences = [CachedTokens(ids) for ids in prompts]
    found: dict[int, Tensor] = {}
    for sequence in sequences:
        engine.pool.grow(sequence.pages, len(sequence.token_ids))
    for step in range(max(map(len, chunks))):
        rows = {i: Row(sequences[i], sizes[step]) for i, sizes in enumerate(chunks) if step < len(sizes)}
        results = iter(engine.runner.run(list(rows.values())))
        for i, row in rows.items():
            if row.completes:
                found[i] = next(results)
            row.sequence.computed += row.token_count
    for sequence in sequences:
        engine.pool.release(sequence.pages)
    return [found[i] for i in range(len(prompts))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_row_gets_the_same_bits_of_its_experts_in_any_company(dtype: torch.dtype) -> None:
    assert LIBRARY is not None
    config = MixtralConfig(
        hidden_size=64, intermediate_size=96, num_local_experts=5, hidden_act="gelu", experts_implementation="eager"
    )
    own, rows = MixtralExperts(config).to(dtype), torch.randn(40, 64, dtype=dtype)
    for parameter in own.parameters():
        parameter.normal_(std=0.2)
    before = {name: parameter.clone() for name, parameter in own.named_parameters()}
    shares, chosen = torch.rand(40, 5).topk(3)
    expected = copy.deepcopy(own).float()(rows.float(), chosen, shares)
    fused = FusedExperts(own, LIBRARY, Arena())
    found = fused(rows, chosen, shares.to(dtype))
    torch.testing.assert_close(
        found.float(), expected, rtol=0, atol=float(4 * torch.finfo(dtype).eps * expected.abs().max())
    )
    for i in range(len(rows)):
        assert torch.equal(fused(rows[i : i + 1], chosen[i : i + 1], shares[i : i + 1].to(dtype))[0], found[i])
    fused.give_back()
    assert all(torch.equal(parameter, before[name]) for name, parameter in own.named_parameters())
