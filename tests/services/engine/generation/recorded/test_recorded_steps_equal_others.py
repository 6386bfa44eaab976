"""How rows are filled into the fixed places of a recording, with kernels interpreted and the recording played anew."""

import random

import pytest
import torch

from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sampling.sampler import sample
from services.engine.generation.sequence import CachedTokens, Row, Sequence
from services.engine.loading import LoadedModel
from tests.services.engine.generation.sequences import sequence as sequence_of
from tests.services.engine.kernel_devices import INTERPRETED, shorten

pytest.importorskip("triton")
from services.engine.generation.attention.triton.backend import TritonAttention
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")


def test_rows_at_any_position_beside_fillers_compute_the_same(fresh_llama: LoadedModel) -> None:
    llama = fresh_llama
    shorten(llama.model)
    cache = KVCache(probe_layouts(llama), 40, PAGE_SIZE, CPU, by_token=True)
    backend, pool = TritonAttention(CPU), PagePool(40, PAGE_SIZE)
    runner = ModelRunner(llama.model, ReferenceAttention(), cache, CPU)
    graphs = PlayedGraphs(llama.model, backend, cache, CPU, longest=64)
    graphs.record(3)
    source = random.Random(5)
    sequences = [CachedTokens([source.randrange(6, 300) for _ in range(length)]) for length in (1, 16, 18)]
    for sequence in sequences:
        pool.grow(sequence.pages, len(sequence.token_ids))
        if before := len(sequence.token_ids) - 1:
            runner.run([Row(sequence, before)])
            sequence.computed = before
    rows = [Row(sequence, 1) for sequence in sequences]
    assert [graphs.size_for(rows[:count]) for count in (1, 2, 3)] == [1, 2, 3]
    assert graphs.size_for([*rows, *rows]) == 0
    expected = runner.run(rows)
    kept = {index: (cache.keys(index).clone(), cache.values(index).clone()) for index in cache.layouts}
    for part, size in ((rows[1:], 3), (rows[:1], 1)):
        found = graphs.run(part, size)
        torch.testing.assert_close(found, expected[[rows.index(row) for row in part]], rtol=1e-4, atol=1e-4)
    for index, (keys, values) in kept.items():  # fillers have stored nothing
        torch.testing.assert_close(cache.keys(index), keys, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(cache.values(index), values, rtol=1e-4, atol=1e-5)
    runner.recorded = graphs  # of which it takes what fits
    torch.testing.assert_close(runner.run(rows), expected, rtol=1e-4, atol=1e-4)


def test_steps_launched_behind_one_another_continue_its_tokens(fresh_llama: LoadedModel) -> None:
    llama = fresh_llama
    shorten(llama.model)
    cache, pool = KVCache(probe_layouts(llama), 40, PAGE_SIZE, CPU, by_token=True), PagePool(40, PAGE_SIZE)
    runner = ModelRunner(llama.model, ReferenceAttention(), cache, CPU)
    graphs = PlayedGraphs(llama.model, TritonAttention(CPU), cache, CPU, longest=64)
    graphs.record(4)
    sampled = {"temperature": 0.9, "top_k": 5, "seed": 3}
    rows: list[Row[Sequence]] = []
    for prompt, fields in (([7, 8, 9], {}), ([*range(20, 36)], sampled), ([30], {}), ([40, 41], {"temperature": 1.0})):
        rows.append(Row(sequence_of(prompt, **fields), 1, decodes=True))
        pool.grow(rows[-1].sequence.pages, 32)
        rows[-1].sequence.processors = ()
        if before := len(prompt) - 1:
            runner.run([Row(rows[-1].sequence, before)])
            rows[-1].sequence.computed = before
    step, found = None, dict[Sequence, list[int]]()
    for count in (4, 4, 3, 3, 1):
        before, step = step, graphs.launch(rows[-count:], step)
        assert step is not None
        for sequence, token in zip(before.sequences, before.tokens(), strict=True) if before else ():
            found.setdefault(sequence, []).append(token)
            sequence.token_ids.append(token)
            sequence.computed += 1
    for row in rows:
        sequence = row.sequence
        sequence.token_ids = sequence.token_ids[: sequence.prompt_count]
        sequence.computed = len(sequence.token_ids) - 1
        for token in found[sequence]:
            [expected] = sample(runner.run([row]), [sequence])
            assert token == expected
            sequence.token_ids.append(token)
            sequence.computed += 1


def test_prompts_and_sequences_beyond_the_recording_are_not_taken(fresh_llama: LoadedModel) -> None:
    llama = fresh_llama
    shorten(llama.model)
    cache = KVCache(probe_layouts(llama), 8, PAGE_SIZE, CPU, by_token=True)
    graphs = PlayedGraphs(llama.model, TritonAttention(CPU), cache, CPU, longest=32)
    graphs.record(2)
    ready = CachedTokens([5, 6], pages=[3], computed=1)
    assert graphs.size_for([Row(ready, 1)]) == 1
    assert graphs.size_for([Row(ready, 1, scored=1)]) == 0
    assert graphs.size_for([Row(CachedTokens([5, 6], pages=[3]), 2)]) == 0
    assert graphs.size_for([Row(CachedTokens([5, 6], pages=[3]), 1)]) == 0
    assert graphs.size_for([Row(CachedTokens([5] * 41, pages=[1, 2, 3], computed=40), 1)]) == 0
