"""How rows are filled into the inputs of a recording, with interpreted kernels and simulated recordings."""

import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from services.engine.fusion.substitution import Substitutions
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.building.verification import engine_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sampling.choice import Sampled, choose, follow
from services.engine.generation.sampling.sampler import sample
from services.engine.generation.sequence import CachedTokens, Row, Sequence
from services.engine.generation.speculation.speculation import Speculation
from services.engine.loading import LoadedModel
from tests.services.bench import assemble, eventually
from tests.services.engine.generation.sequences import sequence as sequence_of
from tests.services.engine.kernel_devices import INTERPRETED, shorten
from tests.services.structures import regex

pytest.importorskip("triton")
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.recorded import step_shape
from services.engine.generation.recorded.step_shape import Extent
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")


def size(graphs: PlayedGraphs, rows: list[Row[Any]]) -> int:
    """Returns the number of tokens of the recorded step that takes these rows; 0 if none does."""
    shape = graphs.shape_for(rows)
    return shape.size if shape else 0


def played(graphs: PlayedGraphs, rows: list[Row[Any]]) -> torch.Tensor:
    """Returns the logits of a recorded step."""
    shape = graphs.shape_for(rows)
    assert shape is not None
    return graphs.run(rows, shape)


def test_rows_at_any_position_beside_fillers_compute_the_same(fresh_llama: LoadedModel) -> None:
    llama = fresh_llama
    shorten(llama.model)
    cache = KVCache(probe_layouts(llama), 40, PAGE_SIZE, CPU, by_token=True)
    backend, pool = TritonAttention(CPU), PagePool(40, PAGE_SIZE)
    runner = ModelRunner(llama.model, ReferenceAttention(), cache, CPU)
    graphs = PlayedGraphs(llama.model, backend, cache, CPU, longest=64)
    graphs.record(3, Extent())
    source = random.Random(5)
    sequences = [CachedTokens([source.randrange(6, 300) for _ in range(length)]) for length in (1, 16, 18)]
    for sequence in sequences:
        pool.grow(sequence.pages, len(sequence.token_ids))
        if before := len(sequence.token_ids) - 1:
            runner.run([Row(sequence, before)])
            sequence.computed = before
    rows = [Row(sequence, 1) for sequence in sequences]
    assert [size(graphs, rows[:count]) for count in (1, 2, 3)] == [1, 2, 3]
    assert size(graphs, [*rows, *rows]) == 0
    expected = runner.run(rows)
    kept = {index: (cache.keys(index).clone(), cache.values(index).clone()) for index in cache.layouts}
    for part in (rows[1:], rows[:1]):
        found = played(graphs, part)
        torch.testing.assert_close(found, expected[[rows.index(row) for row in part]], rtol=1e-4, atol=1e-4)
    for index, (keys, values) in kept.items():  # padding has stored nothing
        torch.testing.assert_close(cache.keys(index), keys, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(cache.values(index), values, rtol=1e-4, atol=1e-5)
    runner.recorded = graphs  # it uses a recording where one fits
    torch.testing.assert_close(runner.run(rows), expected, rtol=1e-4, atol=1e-4)


_SAMPLED = {"temperature": 0.9, "top_k": 5, "seed": 3}
_ONCE = {"frequency_penalty": 50.0, "min_new_tokens": 5, "stop_token_ids": frozenset(range(5))}


def asked() -> list[tuple[list[int], dict[str, Any]]]:
    """Returns prompts and parameters of every kind; a structure of its own for each call."""
    return [
        ([7, 8, 9], {}),
        ([*range(20, 36)], _SAMPLED),
        ([30], {}),
        ([50, 51], {"repetition_penalty": 9.0, "logit_bias": ((6, 0.4), (7, 0.4))}),
        ([60], _SAMPLED | _ONCE),
        ([90], {"structure": regex("[!-&]{40}"), "presence_penalty": 1.5, **_SAMPLED}),
        ([40, 41], {"temperature": 1.0}),
        ([70], {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "logprob_count": 3}),
    ]


def launched(graphs: PlayedGraphs, rows: list[Row[Sequence]]) -> dict[Sequence, list[Sampled]]:
    """Returns the tokens of steps, each launched before the tokens of the step in front of it are read."""
    step, found = None, dict[Sequence, list[Sampled]]()
    cohorts = {count: rows[-count:] for count in (8, 4, 2)}
    for count in (8, 8, 8, 8, 4, 4, 4, 2):
        going = cohorts[count] if step else [Row(row.sequence, row.sequence.remaining) for row in rows]
        before, step = step, graphs.launch(going, step)
        assert step is not None
        for i, (sequence, token) in enumerate(zip(before.sequences, before.tokens(), strict=True) if before else ()):
            assert before is not None
            found.setdefault(sequence, []).append((token, before.likelihoods().get(i)))
            sequence.computed = len(sequence.token_ids)
            sequence.token_ids.append(token)
        step = step.finished()
    return found


def assert_chosen(runner: ModelRunner, row: Row[Sequence], found: list[Sampled]) -> None:
    """Compares with the tokens that the model chooses in single steps, each after the token chosen before."""
    sequence = row.sequence
    sequence.token_ids = sequence.token_ids[: sequence.prompt_count]
    sequence.computed = len(sequence.token_ids) - 1
    for token, likelihood in found:
        [(_, (expected, how_likely))] = choose([row], runner.run([row]).clone())  # a clone is no inference tensor
        assert token == expected
        assert (likelihood is None) == (sequence.request.logprob_count is None)
        if likelihood and how_likely:
            assert likelihood.logprob == pytest.approx(how_likely.logprob, abs=1e-4)
            assert len(likelihood.likeliest) == 3
        sequence.token_ids.append(int(token))  # type: ignore[arg-type]
        sequence.computed += 1


@pytest.mark.parametrize("kind", ["decoding", "behind prompts, with draws that are not recorded"])
def test_steps_launched_behind_one_another_continue_its_tokens(
    fresh_llama: LoadedModel, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    reads = kind != "decoding"
    monkeypatch.setattr(step_shape, "_READ", (32,))
    if reads:
        monkeypatch.delattr(PlayedGraphs, "recorded_draw")  # StepGraphs' own method needs a GPU
    llama = fresh_llama
    shorten(llama.model)
    cache, pool = KVCache(probe_layouts(llama), 40, PAGE_SIZE, CPU, by_token=True), PagePool(40, PAGE_SIZE)
    runner = ModelRunner(llama.model, ReferenceAttention(), cache, CPU)
    graphs = PlayedGraphs(llama.model, TritonAttention(CPU), cache, CPU, longest=64)
    graphs.record(8, Extent(reading=32))
    rows: list[Row[Sequence]] = []
    for prompt, fields in asked():
        rows.append(Row(sequence_of(prompt, **fields), 1, decodes=True))
        pool.grow(rows[-1].sequence.pages, 32)
        if (before := len(prompt) - 1) and not reads:
            runner.run([Row(rows[-1].sequence, before)])
            rows[-1].sequence.computed = before
    found = launched(graphs, rows)
    for row in rows:
        assert_chosen(runner, row, found[row.sequence])
    assert graphs.drawn == (0 if reads else 8)


def test_rows_with_proposals_beside_others_compute_the_same(
    fresh_llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_shape, "_PROPOSED", (4, 8))
    llama, source = fresh_llama, random.Random()
    shorten(llama.model)
    cache, pool = KVCache(probe_layouts(llama), 40, PAGE_SIZE, CPU, by_token=True), PagePool(40, PAGE_SIZE)
    backend, runner = TritonAttention(CPU), ModelRunner(llama.model, ReferenceAttention(), cache, CPU)
    rows: list[Row[Sequence]] = []
    for length, count, fields in ((2, 0, {}), (15, 4, {"temperature": 0.9, "seed": 3}), (30, 1, {"temperature": 0.5})):
        sequence = sequence_of([source.randrange(6, 300) for _ in range(length)], **fields)
        sequence.processors = ()
        pool.grow(sequence.pages, length + count)
        runner.run([Row(sequence, length - 1)])
        sequence.computed = length - 1
        proposed = [*continued(runner, sequence, count - 1), 300][:count]  # all proposals but the last are right
        rows.append(Row(sequence, 1 + count, decodes=True, scored=count, proposed=tuple(proposed)))
    parts = rows, rows[1:2], rows[2:]
    expected = [runner.run(part) for part in parts]
    run = partial(engine_logits, ModelRunner(llama.model, backend, cache, CPU), pool, torch.tensor([[5, 6, 7, 8]]))
    fuse_on_gpu(Substitutions(llama.model), llama.model, backend, run, 64)
    kept = [(cache.keys(index).clone(), cache.values(index).clone()) for index in cache.layouts]
    graphs = PlayedGraphs(llama.model, backend, cache, CPU, longest=64)
    graphs.record(1, Extent(proposing=True))
    assert [size(graphs, part) for part in (*parts, [*rows, *rows])] == [8, 8, 4, 0]
    for part, logits in zip(parts, expected, strict=True):
        torch.testing.assert_close(played(graphs, part), logits, rtol=1e-4, atol=1e-4)
        step = graphs.launch(part)
        assert step is not None
        drawn, others = follow(part, step.tokens(), step.likelihoods()), choose(part, logits)
        assert drawn is not None
        for row in part:
            tokens, same = ([token for one, token in each if one is row.sequence] for each in (drawn, others))
            assert tokens == same
            assert len(tokens) == max(len(row.proposed), 1)
    for (keys, values), index in zip(kept, cache.layouts, strict=True):
        torch.testing.assert_close(cache.keys(index), keys, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(cache.values(index), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["whole layers", "8 bits"])
def test_prompts_beside_rows_that_decode_compute_the_same(
    fresh_llama: LoadedModel, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(step_shape, "_READ", (8, 24))
    llama, source = fresh_llama, random.Random()
    shorten(llama.model)
    layouts = {i: replace(layout, narrow=kind == "8 bits") for i, layout in probe_layouts(llama).items()}
    cache, pool = KVCache(layouts, 40, PAGE_SIZE, CPU, by_token=True), PagePool(40, PAGE_SIZE)
    backend = TritonAttention(CPU)
    runner = ModelRunner(llama.model, backend if kind == "8 bits" else ReferenceAttention(), cache, CPU)
    rows: list[Row[CachedTokens]] = []
    # A row that decodes, a whole prompt, the end of one, the middle of one with all tokens scored, and a last token.
    for known, computed, count, scored in ((17, 16, 1, 0), (9, 0, 9, 0), (19, 16, 3, 0), (30, 5, 4, 4), (9, 8, 1, 0)):
        sequence = CachedTokens([source.randrange(6, 300) for _ in range(known)])
        pool.grow(sequence.pages, known)
        if computed:
            runner.run([Row(sequence, computed)])
            sequence.computed = computed
        rows.append(Row(sequence, count, scored=scored))
    parts = (rows,) if kind == "8 bits" else (rows, rows[3:4])
    expected = [runner.run(part) for part in parts]
    if kind == "whole layers":
        run = partial(engine_logits, ModelRunner(llama.model, backend, cache, CPU), pool, torch.tensor([[5, 6, 7, 8]]))
        fuse_on_gpu(Substitutions(llama.model), llama.model, backend, run, 64)
    kept = [(cache.keys(index).clone(), cache.values(index).clone()) for index in cache.layouts]
    graphs = PlayedGraphs(llama.model, backend, cache, CPU, longest=64)
    graphs.record(4, Extent(reading=24))
    assert [shape.size for shape in graphs.reading_shapes] == [8, 8, 24, 24]
    assert [size(graphs, part) for part in (rows, rows[3:4], rows[:1] * 5, rows[1:2] * 2)] == [24, 8, 0, 24]
    for part, logits in zip(parts, expected, strict=True):
        torch.testing.assert_close(played(graphs, part), logits, rtol=1e-4, atol=1e-4)
    for (keys, values), index in zip(kept, cache.layouts, strict=True):
        if kind != "8 bits":
            torch.testing.assert_close(cache.keys(index), keys, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(cache.values(index), values, rtol=1e-4, atol=1e-5)


def continued(runner: ModelRunner, sequence: Sequence, count: int) -> list[int]:
    """Returns the tokens behind a sequence, which is left unchanged."""
    known = len(sequence.token_ids)
    for _ in range(count):
        [token] = sample(runner.run([Row(sequence, sequence.remaining)]), [sequence])
        assert isinstance(token, int)
        sequence.token_ids.append(token)
    found, sequence.token_ids[known:] = sequence.token_ids[known:], []
    return found


async def test_an_engine_with_proposals_gives_the_same(
    fresh_llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_shape, "_PROPOSED", (8,))
    monkeypatch.setattr(Speculation, "_price", lambda *_: 0.0)  # however long a step takes
    torch.manual_seed(1)  # not all weights repeat themselves
    shorten(fresh_llama.model)
    cache = KVCache(probe_layouts(fresh_llama), 24, PAGE_SIZE, CPU, by_token=True)
    runner = ModelRunner(fresh_llama.model, ReferenceAttention(), cache, CPU)
    graphs = PlayedGraphs(fresh_llama.model, TritonAttention(CPU), cache, CPU, longest=64)
    graphs.record(2, Extent(proposing=True))
    prompts, kinds = ([6, 7, 6, 7, 6], [9]), ({"repetition_penalty": 0.8}, {"temperature": 0.3, "seed": 5})
    found: list[list[list[int]]] = []
    for recorded, lookup in ((None, None), (graphs, PromptLookup(5, 1))):
        runner.recorded = recorded
        bench = assemble(runner, 24, max_sequences=2)
        try:
            each = [
                await bench.run_all(*((one, {"max_new_tokens": 12, "lookup": lookup, **kind}) for one in prompts))
                for kind in kinds
            ]
            found.append([one.ids for some in each for one in some])
            await eventually(lambda bench=bench: bench.idle)
            assert (bench.metric("proposed_tokens_total") > 3) == (lookup is not None)
        finally:
            bench.engine.close()
    assert found[0] == found[1]


def test_prompts_and_sequences_beyond_the_recording_are_not_taken(fresh_llama: LoadedModel) -> None:
    llama = fresh_llama
    shorten(llama.model)
    cache = KVCache(probe_layouts(llama), 8, PAGE_SIZE, CPU, by_token=True)
    graphs = PlayedGraphs(llama.model, TritonAttention(CPU), cache, CPU, longest=32)
    graphs.record(2, Extent())
    ready = CachedTokens([5, 6], pages=[3], computed=1)
    assert size(graphs, [Row(ready, 1)]) == 1
    assert size(graphs, [Row(ready, 1, scored=1)]) == 0
    assert size(graphs, [Row(CachedTokens([5, 6], pages=[3]), 2)]) == 0
    assert size(graphs, [Row(CachedTokens([5, 6], pages=[3]), 1)]) == 0
    assert size(graphs, [Row(CachedTokens([5] * 41, pages=[1, 2, 3], computed=40), 1)]) == 0
