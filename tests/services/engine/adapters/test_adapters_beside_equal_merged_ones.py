"""Rows with different adapters in one step, compared with a model with one merged adapter."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from services.engine.acceleration import replacement
from services.engine.acceleration.packing import OneDnnLinear
from services.engine.fusion.decoder import FusedDecoderLayer
from services.engine.generation.building import parts
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.building.verified_runner import verified_runner
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.requests.request import BeamParameters, PromptLookup
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel, load_language_model
from services.engine.native.library import load_library
from tests.services.bench import Bench, eventually, real_bench
from tests.tiny.adapted import NAMES, adapted
from tests.tiny.adapters import WEIGHTS

CPU, PAGES, PAGE_SIZE = torch.device("cpu"), 128, 16
PROMPTS = [[7 + (i * j) % 300 for i in range(1, length)] for j, length in ((3, 5), (5, 24), (11, 37), (13, 20))]
LIBRARY = load_library()
pays = LIBRARY is not None and all(LIBRARY.linear_pays.values())


def runner_of(loaded: LoadedModel) -> tuple[ModelRunner, PagePool]:
    pool = PagePool(PAGES, PAGE_SIZE)
    return verified_runner(loaded, KVCache(probe_layouts(loaded), PAGES, PAGE_SIZE, CPU), pool), pool


def sequences_of(pool: PagePool) -> dict[str, CachedTokens]:
    """Returns a sequence for each adapter and one without, in an order in which equal adapters are not adjacent."""
    made: dict[str, CachedTokens] = {}
    for name, prompt in zip(NAMES, PROMPTS, strict=True):
        made[name] = CachedTokens([*prompt], adapter=name)
        pool.grow(made[name].pages, len(prompt))
    return made


MODELS = ["llama", "qwen3", "gemma3", "mistral", "gpt2", "mixtral"]
"""Fused layers and whole decoders; norms on both sides; windows; transposed weights; experts."""


def test_they_need_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler, torch computes both the layers and the adapters.

    The adapters' files may change after the load.
    """
    for user in (replacement, parts):
        monkeypatch.setattr(user, "load_library", lambda: None)
    known = adapted(tmp_path)
    loaded = known.load()
    runner, pool = runner_of(loaded)
    layer: Any = loaded.model.get_decoder().layers[1]
    assert isinstance(layer.mlp.up_proj, OneDnnLinear)
    expected = [known.logits(name, prompt)[-1] for name, prompt in zip(NAMES, PROMPTS, strict=True)]
    for place in known.places.values():
        weights = Path(place, WEIGHTS)
        with weights.open("r+b") as file:  # as if another file were copied over it
            file.write(bytes(weights.stat().st_size))
    found = runner.run([Row(sequence, len(sequence.token_ids)) for sequence in sequences_of(pool).values()])
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name", MODELS)
def test_each_row_of_a_step_is_computed_with_its_own(name: str, tmp_path: Path) -> None:
    known = adapted(tmp_path, name)
    runner, pool = runner_of(known.load())
    sequences = sequences_of(pool)
    kinds = list(sequences)
    for counts in ((3, 9, 20, 11), (1, 14, 16, 8)):  # the first chunks of all prompts, then the rest
        rows = [Row(sequences[kind], count, scored=count - 1) for kind, count in zip(kinds, counts, strict=True)]
        logits = runner.run(rows)
        for row, kind in zip(rows, kinds, strict=True):
            sequence, count = row.sequence, row.outputs
            expected = known.logits(kind, sequence.token_ids)[sequence.computed : sequence.computed + count]
            torch.testing.assert_close(logits[:count], expected, rtol=1e-4, atol=2e-4)
            logits = logits[count:]
            sequence.computed += row.token_count
    prompt = PROMPTS[1]
    different = [known.logits(kind, prompt)[-1] for kind in NAMES]
    assert min(float((a - b).abs().max()) for a in different for b in different if a is not b) > 0.01


@pytest.mark.skipif(not pays, reason="torch's linear layers are faster on this machine, and not the same in company")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_company_changes_no_bit(dtype: str, tmp_path: Path) -> None:
    runner, pool = runner_of(adapted(tmp_path).load(dtype))
    sequences = sequences_of(pool)
    rows = [Row(sequence, len(sequence.token_ids)) for sequence in sequences.values()]
    together = runner.run(rows)
    assert torch.equal(together, torch.cat([runner.run([row]) for row in rows]))
    plain, _ = runner_of(load_language_model(str(tmp_path / "base"), revision=None, device=CPU, dtype=dtype))
    assert torch.equal(together[3:], plain.run(rows[3:]))


@pytest.mark.skipif(not pays, reason="torch's linear layers are faster on this machine")
def test_modules_are_those_of_a_model_without_adapters(tmp_path: Path) -> None:
    loaded = adapted(tmp_path).load()
    runner, pool = runner_of(loaded)
    runner.run([Row(sequence, 2) for sequence in sequences_of(pool).values()])
    assert runner.whole is not None
    assert all(isinstance(layer, FusedDecoderLayer) for layer in loaded.model.get_decoder().layers)


async def test_whatever_is_asked_for_goes_with_any_adapter(tmp_path: Path) -> None:
    """Candidates, beams, resumed streams and proposals in one engine; the prefix cache does not mix up adapters."""
    known = adapted(tmp_path)
    bench = real_bench(known.load(), accelerated=True, max_sequences=16)
    prompt = [*PROMPTS[2], *PROMPTS[2]]
    try:
        for _ in range(2):  # the second time with the first one's prefixes in the cache
            found = await asyncio.gather(*(_whatever(bench, name, prompt) for name in NAMES))
            for name, results in zip(NAMES, found, strict=True):
                expected = known.generated(name, prompt)
                beams = known.generated(name, prompt, num_beams=3)
                assert results == [expected, expected, expected, expected[3:], beams, expected], name
        assert bench.metric("prefix_cache_hit_tokens_total") > 0
        await eventually(lambda: bench.idle)
    finally:
        bench.engine.close()


async def _whatever(bench: Bench, name: str, prompt: list[int]) -> list[list[int]]:
    plain = await bench.run(prompt, max_new_tokens=8, adapter=name)
    several = await bench.run(prompt, max_new_tokens=8, adapter=name, candidate_count=2)
    resumed = await bench.run(prompt, max_new_tokens=8, adapter=name, delivered=tuple(plain.ids[:3]))
    beams = await bench.run(prompt, max_new_tokens=8, adapter=name, beams=BeamParameters(3))
    proposed = await bench.run(prompt, max_new_tokens=8, adapter=name, lookup=PromptLookup())
    return [
        plain.ids,
        *([*candidate.token_ids] for candidate in several.candidates),
        resumed.ids,
        beams.ids,
        proposed.ids,
    ]
