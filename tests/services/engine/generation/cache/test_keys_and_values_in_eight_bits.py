"""By the reference's attention; the kernels are held against float64 in `attention/test_triton_equals_float64.py`."""

from pathlib import Path

import pytest
import torch

from services.engine.checkpoint import ModelRefused
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.parts import EngineSettings, Parts
from services.engine.generation.building.verification import check_prompts, engine_logits
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout, narrowed, widened
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel, load_language_model
from tests.services.bench import Bench, assemble, build, eventually
from tests.tiny.language_models import write_checkpoint

CPU = torch.device("cpu")
SAMPLED = {"temperature": 1.1, "top_p": 0.95, "seed": 3, "max_new_tokens": 24, "min_new_tokens": 24}
PROMPTS = [[7 + (i * j) % 300 for i in range(1, length)] for j, length in ((3, 60), (5, 21), (11, 45), (13, 90))]


def test_a_number_is_off_by_a_sixteenth_at_most_and_zeros_and_others_stay() -> None:
    numbers = torch.randn(200, 3, 24) * torch.logspace(-6, 4, 200)[:, None, None]
    numbers[5], numbers[6, 0, 0] = 0.0, torch.nan
    bits, scales = narrowed(numbers)
    assert bits.dtype == torch.uint8
    found = widened(bits, scales)
    assert torch.isnan(found[6, 0]).any()
    assert torch.equal(found[5], numbers[5])
    fine = torch.arange(200) != 6
    least = scales.unsqueeze(-1) / 1024  # half of the smallest number there is
    assert ((found - numbers).abs() <= torch.maximum(numbers.abs() / 16, least) * 1.0001)[fine].all()


@pytest.mark.parametrize("by_token", [False, True])
def test_pages_are_written_copied_and_read(by_token: bool) -> None:
    cache = KVCache({0: LayerLayout(4, 2, 8, 5, torch.bfloat16, narrow=True)}, 6, 16, CPU, by_token=by_token)
    keys, values = torch.randn(20, 2, 8).bfloat16(), torch.randn(20, 2, 5).bfloat16()
    cache.write(0, torch.tensor(cache.slots([4, 1], 0, 20)), keys, values)
    cache.copy_pages([4, 1], [2, 5])
    for pages in ([4, 1], [2, 5]):
        for found, own in zip(cache.read(0, torch.tensor(pages), 20), (keys, values), strict=True):
            assert found.dtype == torch.bfloat16
            assert torch.equal(found, widened(*narrowed(own)).bfloat16())


def test_a_token_takes_half_the_memory_of_16_bits() -> None:
    wide = LayerLayout(32, 8, 128, 128, torch.bfloat16)
    assert LayerLayout(32, 8, 128, 128, torch.bfloat16, narrow=True).bytes_per_token / wide.bytes_per_token < 0.52


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = write_checkpoint(tmp_path_factory.mktemp("narrow"), "llama")
    loaded = load_language_model(str(folder), revision=None, device=CPU, dtype="float32")
    return paged_parts(loaded, EngineSettings(max_sequences=8, narrow_cache=True))


async def all_of(bench: Bench) -> list[list[int]]:
    return [result.ids for result in await bench.run_all(*((prompt, SAMPLED) for prompt in PROMPTS))]


async def test_preemption_forks_and_shared_prefixes_change_nothing(parts: Parts, benches: list[Bench]) -> None:
    assert isinstance(parts.runner, ModelRunner)
    assert isinstance(parts.runner.backend, ReferenceAttention)
    roomy, tight = assemble(parts.runner, 100, prefill_tokens=500), assemble(parts.runner, 12, prefill_tokens=500)
    benches += [roomy, tight]
    expected = await all_of(roomy)
    again = await roomy.run(PROMPTS[0], **SAMPLED)
    assert again.completed.cached_token_count >= 48
    assert again.ids == expected[0]
    several = await roomy.run(PROMPTS[0], candidate_count=3, **SAMPLED)
    assert [*several.candidates[0].token_ids] == expected[0]
    await eventually(lambda: roomy.idle)
    assert await all_of(tight) == expected
    assert tight.metric("preemptions_total") > 0
    resumed = await roomy.run(PROMPTS[1], delivered=tuple(expected[1][:7]), **SAMPLED)
    assert resumed.ids == expected[1][7:]


def test_logits_are_a_little_off_and_no_more(parts: Parts, llama: LoadedModel) -> None:
    assert isinstance(parts.runner, ModelRunner)
    wide = KVCache({i: LayerLayout(*_shape(layout)) for i, layout in parts.runner.cache.layouts.items()}, 64, 16, CPU)
    pool, prompts = PagePool(64, 16), check_prompts(llama, parts.pool)
    found = engine_logits(parts.runner, parts.pool, prompts)
    narrow = parts.runner.cache
    parts.runner.cache = wide
    exact = engine_logits(parts.runner, pool, prompts)
    parts.runner.cache = narrow
    assert 1e-4 < float((found - exact).norm() / exact.norm()) < 0.06


def _shape(layout: LayerLayout) -> tuple[int, int, int, int, torch.dtype]:
    return layout.heads, layout.kv_heads, layout.key_width, layout.value_width, layout.dtype


@pytest.mark.parametrize("name", ["t5", "mamba"])
def test_models_whose_state_is_something_else_are_refused(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, name)
    loaded = load_language_model(str(folder), revision=None, device=CPU, dtype="float32")
    with pytest.raises(ModelRefused, match="--kv-cache-dtype"):
        build(loaded, narrow_cache=True)
