import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.narrow.model import narrow_weights, widen_weights
from services.engine.narrow.numbers import NarrowKind
from tests.gpu.conftest import GPU, NEW_TOKENS, PROMPTS, Load, Start, all_of
from tests.services.bench import assemble, eventually
from tests.tiny.language_models import CONFIGS, ENCODER_DECODERS, MIXTURES

CPU = torch.device("cpu")
NAMES = [name for name in CONFIGS if name != "wide_llama"] + [*MIXTURES]
EXPERTS = {"mixtral", "gpt_oss", *MIXTURES}
FUSED = set(NAMES) - EXPERTS - {"gpt2"}
SAMPLED = {"temperature": 1.2, "top_p": 0.95, "top_k": 60, "repetition_penalty": 1.1}


def own(folder: Path, prompts: list[list[int]], count: int) -> list[list[int]]:
    """Returns what `generate` on the GPU makes of each prompt alone."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return continued(model.eval().to(GPU), prompts, count)


def continued(model: Any, prompts: list[list[int]], count: int) -> list[list[int]]:
    """Returns what `generate` of a model makes of each prompt alone, with no ending token."""
    model.generation_config.eos_token_id = None
    options = {"max_new_tokens": count, "do_sample": False}
    outputs: list[list[int]] = []
    with torch.inference_mode():
        for prompt in prompts:
            ids = torch.tensor([prompt], device=GPU)
            outputs.append(
                model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(prompt) :].tolist()
            )
    return outputs


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "service"])
@pytest.mark.parametrize("name", NAMES)
async def test_greedy_tokens_of_a_mixed_batch_equal_generate(
    name: str, plain: bool, load: Load, start: Start, folders: Callable[[str], Path]
) -> None:
    loaded = load(name)
    bench = start(loaded, plain=plain, prefill_tokens=32)
    assert await all_of(bench) == own(folders(name), PROMPTS, NEW_TOKENS)
    runner: ModelRunner = bench.runner
    assert isinstance(runner.backend, ReferenceAttention) == plain
    assert (runner.recorded is None) == plain
    assert plain or (runner.recorded is not None and runner.recorded.reading_shapes[-1].size >= 256)
    kinds = [type(module).__name__ for module in loaded.model.modules()]
    assert ("GpuExperts" in kinds) == ("GpuRouter" in kinds) == (name in EXPERTS and not plain)
    if name in FUSED:
        kinds = {type(layer).__name__ for layer in loaded.model.model.layers}
        assert (kinds == {"GpuDecoderLayer"}) == (not plain)
    await eventually(lambda: bench.idle)


@pytest.mark.parametrize("name", ENCODER_DECODERS)
async def test_encoder_decoders_equal_the_cpu(name: str, load: Load, start: Start) -> None:
    found: list[list[list[int]]] = []
    for device in (CPU, GPU):
        loaded = load(name, device)
        bench = start(loaded)
        asked = {"max_new_tokens": 12, "no_repeat_ngram_size": 2}
        runs = (bench.run(list(loaded.decoder_start_ids), source=prompt, **asked) for prompt in PROMPTS)
        found.append([result.ids for result in await asyncio.gather(*runs)])
    assert found[0] == found[1]


async def test_seeded_draws_equal_those_of_the_cpu(load: Load, start: Start) -> None:
    on_cpu, on_gpu = start(load("llama", CPU)), start(load("llama"))
    asked = [(prompt, {**SAMPLED, "seed": i, "max_new_tokens": 20}) for i, prompt in enumerate(PROMPTS)]
    alone = [(await on_cpu.run(prompt, **fields)).ids for prompt, fields in asked]
    together = await asyncio.gather(*(on_gpu.run(prompt, **fields) for prompt, fields in asked))
    assert [result.ids for result in together] == alone


async def test_preemption_and_shared_prefixes_change_nothing(load: Load, start: Start) -> None:
    roomy, tight = start(load("llama"), plain=True), start(load("llama"), pages=12)
    assert await all_of(tight) == await all_of(roomy)
    assert tight.metric("preemptions_total") > 0
    first = await roomy.run(PROMPTS[-1], max_new_tokens=20)
    again = await roomy.run(PROMPTS[-1], max_new_tokens=20)
    assert again.ids == first.ids
    assert again.completed.cached_token_count >= 80


@pytest.mark.alone
async def test_a_real_lack_of_memory_makes_steps_smaller(load: Load, start: Start) -> None:
    bench, roomy = start(load("llama"), max_sequences=6), start(load("llama"))
    original, tried = bench.runner.run, list[int]()

    def run(rows: Collection[Row[CachedTokens]]) -> Tensor:
        tried.append(len(rows))
        if len(rows) > 2:
            torch.empty(1 << 44, dtype=torch.uint8, device=GPU)
        return original(rows)

    bench.runner.run = run
    bench.launcher.launch = lambda *_: None
    assert await all_of(bench) == await all_of(roomy)
    assert 0 < bench.metric("oom_total") < 8
    del tried[:]
    await all_of(bench)
    assert max(tried) <= 2
    await eventually(lambda: bench.idle)


@pytest.mark.parametrize("quantization", ["bitsandbytes-int8", "bitsandbytes-nf4"])
async def test_quantized_weights_equal_their_own_generate(quantization: str, load: Load, start: Start) -> None:
    pytest.importorskip("bitsandbytes")
    loaded = load("wide_llama", dtype="float16", quantization=quantization)
    bench = start(loaded)
    found = await bench.run(PROMPTS[2], max_new_tokens=8)
    model: Any = loaded.model
    model.set_attn_implementation("eager")
    ids = torch.tensor([PROMPTS[2]], device=GPU)
    made = model.generate(ids, max_new_tokens=8, do_sample=False)
    assert found.ids == made[0, len(PROMPTS[2]) :].tolist()


@pytest.mark.parametrize("kind", ["int8", "fp8_e4m3"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt_oss", "mixtral", "qwen3_moe"])
async def test_weights_of_8_bits_equal_generate_of_the_rounded_ones(
    name: str, kind: NarrowKind, load: Load, start: Start
) -> None:
    rounded = load(name)
    narrow_weights(rounded.model, kind, GPU)
    widen_weights(rounded.model)
    loaded = load(name, quantization=kind)
    bench = start(loaded, prefill_tokens=32)
    assert await all_of(bench) == continued(rounded.model, PROMPTS, NEW_TOKENS)
    kinds = [type(module).__name__ for module in loaded.model.modules()]
    assert "GpuNarrowLinear" in kinds
    assert "NarrowLinear" not in kinds
    assert bench.runner.recorded is not None
    assert ("GpuDecoderLayer" in kinds) == (name in FUSED)
    assert ("GpuExperts" in kinds) == (name in EXPERTS)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
async def test_half_precision_runs_recorded_and_checked(dtype: str, load: Load, start: Start) -> None:
    bench = start(load("llama", dtype=dtype))
    assert bench.runner.recorded is not None
    assert all(len(ids) == NEW_TOKENS for ids in await all_of(bench))


async def test_keys_and_values_in_8_bits_are_read_by_kernels(load: Load) -> None:
    from services.engine.generation.attention.triton.backend import TritonAttention

    settings = EngineSettings(max_sequences=8, narrow_cache=True)
    made = paged_parts(load("llama"), settings)
    assert isinstance(made.runner, ModelRunner)
    assert isinstance(made.runner.backend, TritonAttention)
    bench = assemble(made.runner, made.pool.page_count, share=False)
    try:
        assert made.runner.recorded is not None
        together = await all_of(bench)
        asked = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS}
        alone = [(await bench.run(prompt, **asked)).ids for prompt in PROMPTS]
        assert together == alone
    finally:
        bench.engine.close()
