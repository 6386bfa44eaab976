import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import FalconH1Config, cache_utils

from services.engine.checkpoint import ModelRefused
from services.engine.generation.attention.backend import IMPLEMENTATION, AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import PAGE_SIZE, EngineSettings, page_count, probe_layouts
from services.engine.generation.building.verification import Expected, NotPaged, check_prompts, tolerance, verify
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.state_size import StateSize
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel, load_language_model
from tests.drawn import drawn
from tests.services.bench import build, output_of, read, real_bench, request
from tests.tiny.language_models import CONFIGS, random_model, tokenizer, write_checkpoint

CPU = torch.device("cpu")


def load(folder: Path) -> LoadedModel:
    return load_language_model(str(folder), revision=None, device=CPU, dtype="auto")


def verified(loaded: LoadedModel, backend: Any) -> float:
    """Returns the error that was allowed."""
    cache = KVCache(probe_layouts(loaded), 64, PAGE_SIZE, CPU)
    pool = PagePool(64, PAGE_SIZE)
    expected = Expected.of(loaded, check_prompts(loaded, pool))
    verify(loaded, ModelRunner(loaded.model, backend, cache, CPU), pool, expected)
    assert pool.free_count == 64
    return expected.allowed


class Tampered(ReferenceAttention):
    """Changes what every layer's attention looks like."""

    def __init__(self, **changes: Any) -> None:
        self._changes = changes

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor, batch: AttentionBatch) -> Tensor:
        return super().attend(AttentionLayer(**(vars(layer) | self._changes)), query, key, value, batch)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama", {"scaling": 0.3}),
        ("llama", {"softcap": 1.0}),
        ("mistral", {"sliding_window": None}),
        ("gemma3", {"sliding_window": None}),
        ("gpt_oss", {"sinks": None}),
    ],
)
def test_an_attention_that_differs_is_found(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    loaded = load(write_checkpoint(tmp_path, name))
    verified(loaded, ReferenceAttention())
    with pytest.raises(NotPaged, match="relative error"):
        verified(loaded, Tampered(**changes))


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("changes", [{"softcap": 1.0}, {"sliding_window": 20}])
def test_an_attention_that_differs_is_found_in_half_precision(
    llama_folder: Path, noisy: bool, changes: dict[str, Any]
) -> None:
    loaded = load_language_model(str(llama_folder), revision=None, device=CPU, dtype="bfloat16")
    if noisy:  # rounding alone takes its logits far, as those of deep models at random
        with torch.no_grad():
            for layer in loaded.model.model.layers:
                layer.mlp.down_proj.weight *= 30
                layer.self_attn.o_proj.weight *= 30
                layer.self_attn.q_proj.weight *= 7
                layer.self_attn.k_proj.weight *= 7
    assert (verified(loaded, ReferenceAttention()) > tolerance(loaded)) == noisy
    with pytest.raises(NotPaged, match="relative error"):
        verified(loaded, Tampered(**changes))


def test_a_layer_that_runs_twice_is_found_however_little_that_changes(llama_folder: Path) -> None:
    loaded = load_language_model(str(llama_folder), revision=None, device=CPU, dtype="bfloat16")
    layer = loaded.model.model.layers[1]
    original = layer.forward

    def looped(hidden_states: Tensor, *given: Any, **named: Any) -> Tensor:
        once = original(hidden_states, *given, **named)
        return once + 0.01 * (original(once, *given, **named) - once)

    layer.forward = looped
    with pytest.raises(NotPaged, match="layer 1 attends more than once to a token"):
        probe_layouts(loaded)


@pytest.mark.skipif(not hasattr(cache_utils, "LinearAttentionAndFullAttentionLayer"), reason="hybrids have own caches")
def test_a_state_beside_keys_is_found_however_little_it_changes(tmp_path: Path) -> None:
    config = FalconH1Config(
        vocab_size=len(tokenizer()), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8,
        mamba_n_groups=1, mamba_chunk_size=16, ssm_out_multiplier=0.05,
    )  # fmt: skip
    random_model(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    loaded = load_language_model(str(tmp_path), revision=None, device=CPU, dtype="bfloat16")
    with pytest.raises(NotPaged, match="a state beside keys and values"):
        probe_layouts(loaded)


def test_what_is_only_wrong_of_one_row_that_decodes_is_found(llama_folder: Path) -> None:
    loaded = load(llama_folder)
    layer = loaded.model.model.layers[1].mlp
    original = layer.forward
    layer.forward = lambda hidden: original(hidden) * (hidden.shape[:2].numel() > 1)
    with pytest.raises(NotPaged, match="relative error"):
        verified(loaded, ReferenceAttention())


def test_a_model_that_differs_through_the_paged_cache_is_run_on_its_own(llama_folder: Path) -> None:
    loaded = load(llama_folder)
    layer = loaded.model.model.layers[1].mlp
    original = layer.forward
    layer.forward = lambda hidden: original(hidden - hidden.mean(dim=1, keepdim=True))  # looks at all of a forward
    built = build(loaded)
    assert built.serial
    assert "relative error" in built.reason


def test_a_model_that_goes_on_from_its_neighbours_is_refused(llama_folder: Path) -> None:
    loaded = load(llama_folder)
    layer = loaded.model.model.layers[1].mlp
    original, seen = layer.forward, [torch.zeros(())]

    def forward(hidden: Tensor) -> Tensor:
        seen[0] = seen[0] * 0.5 + hidden.mean()
        return original(hidden) + seen[0]

    layer.forward = forward
    with pytest.raises(ModelRefused, match="take turns"):
        build(loaded)


def test_logits_that_are_no_numbers_are_refused(llama_folder: Path) -> None:
    loaded = load(llama_folder)
    with torch.no_grad():
        loaded.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(ModelRefused):
        build(loaded)


def test_a_layer_outside_the_attention_interface_is_told(llama_folder: Path) -> None:
    loaded = load(llama_folder)
    attention = loaded.model.model.layers[2].self_attn
    attention.forward = lambda hidden_states, **_: (hidden_states, None)
    built = build(loaded)
    assert built.serial
    assert "3 layers, of which 2" in built.reason


@pytest.mark.parametrize("name", drawn([*CONFIGS], 3))
async def test_every_architecture_continues_as_its_own_generate(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, name, seed=3)
    prompts = [[7 + (i * j) % 300 for i in range(1, length)] for j, length in ((3, 4), (5, 21), (11, 45))]
    own = load(folder)
    ids = [own_generate(own, prompt) for prompt in prompts]
    for accelerated in (False, True):
        bench = real_bench(load(folder), accelerated=accelerated, prefill_tokens=7)
        try:
            streams = [bench.submit(prompt, max_new_tokens=24) for prompt in prompts]
            for stream, expected in zip(streams, ids, strict=True):
                found = [token for event in [e async for e in stream][:-1] for token in event.token_ids]
                assert found == expected, f"{accelerated=}"
        finally:
            bench.engine.close()


def own_generate(loaded: LoadedModel, prompt: list[int]) -> list[int]:
    """Returns what transformers alone generates, by its eager attention, well beyond every sliding window."""
    ids = torch.tensor([prompt])
    loaded.model.set_attn_implementation("eager")
    try:
        output = loaded.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, min_new_tokens=24, do_sample=False
        )
    finally:
        loaded.model.set_attn_implementation(IMPLEMENTATION)
    return output[0, len(prompt) :].tolist()


async def test_what_was_built_and_checked_runs(fresh_llama: LoadedModel) -> None:
    expected = own_generate(fresh_llama, [5, 6, 7])[:9]
    built = build(fresh_llama)
    assert built.engine._scheduler.budget.clock is time.thread_time
    built.engine.start()
    try:
        asked = request([5, 6, 7], max_new_tokens=9)
        assert (await read(built.engine.submit(asked, output_of(asked)))).ids == expected
    finally:
        built.engine.close()


def test_the_cache_takes_no_more_than_it_may_nor_than_all_rows_need(llama: LoadedModel) -> None:
    token_bytes = 3 * 2 * (8 + 16) * 4  # values are filled up to 16
    assert sum(layout.bytes_per_token for layout in probe_layouts(llama).values()) == token_bytes
    page_bytes, size = PAGE_SIZE * token_bytes, StateSize(0, token_bytes)
    assert page_count(llama, EngineSettings(max_sequences=2, cache_bytes=1 << 30), size) == 2 * 256 // PAGE_SIZE
    assert page_count(llama, EngineSettings(cache_bytes=5 * page_bytes + 1), size) == 5
    with pytest.raises(ModelRefused, match="one page"):
        page_count(llama, EngineSettings(cache_bytes=page_bytes - 1), size)


def test_what_a_sequence_keeps_besides_is_set_aside_first(llama: LoadedModel) -> None:
    settings = EngineSettings(max_sequences=4, cache_bytes=4 * 1000 + 3 * PAGE_SIZE * 8)
    assert page_count(llama, settings, StateSize(1000, 8)) == 3
    assert page_count(llama, settings, StateSize(1000, 0)) == 4 * 256 // PAGE_SIZE  # its length takes nothing
    with pytest.raises(ModelRefused, match="4000 bytes of 4 sequences"):
        page_count(llama, EngineSettings(max_sequences=4, cache_bytes=4001), StateSize(1000, 8))


@pytest.mark.parametrize(("pages", "context"), [(1000, 256), (3, 48)])
def test_a_cache_smaller_than_the_context_bounds_the_context(
    fresh_llama: LoadedModel, pages: int, context: int
) -> None:
    token_bytes = 3 * 2 * (8 + 16) * 4  # values are filled up to 16
    assert build(fresh_llama, cache_bytes=pages * PAGE_SIZE * token_bytes).context_tokens == context


def test_a_model_that_its_own_code_cannot_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(write_checkpoint(tmp_path, "llama"))

    def lacking(**_: Any) -> None:
        raise ValueError("there is no window")

    monkeypatch.setattr(loaded.model, "forward", lacking)
    with pytest.raises(ModelRefused, match="does not run: there is no window"):
        Expected.of(loaded, check_prompts(loaded, PagePool(64, PAGE_SIZE)))
