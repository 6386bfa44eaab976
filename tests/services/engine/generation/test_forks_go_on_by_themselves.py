import pytest
import torch

from services.engine.generation.attention.backend import AttentionBackend
from services.engine.generation.attention.cpu import PAGE_SIZE, CpuAttention
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel
from services.engine.native.library import load_library


def test_pages_are_copied_in_all_layers() -> None:
    layouts = {layer: LayerLayout(2, 1, 3, 5, torch.float32) for layer in (0, 4)}
    cache = KVCache(layouts, 6, 4, torch.device("cpu"))
    for layer in layouts:
        cache.keys(layer).normal_()
        cache.values(layer).normal_()
    before = {layer: (cache.keys(layer).clone(), cache.values(layer).clone()) for layer in layouts}
    cache.copy_pages([1, 1, 5], [0, 3, 2])
    for layer, tensors in before.items():
        for old, new in zip(tensors, (cache.keys(layer), cache.values(layer)), strict=True):
            assert torch.equal(new, old[[1, 1, 5, 1, 4, 5]])


def backends() -> list[AttentionBackend]:
    library = load_library()
    return [ReferenceAttention(), *([CpuAttention(library)] if library else [])]


@pytest.mark.parametrize("length", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("backend", backends(), ids=lambda backend: type(backend).__name__)
def test_parent_and_children_compute_what_each_would_alone(
    llama: LoadedModel, backend: AttentionBackend, length: int
) -> None:
    pool = PagePool(32, PAGE_SIZE)
    runner = ModelRunner(llama.model, backend, KVCache(probe_layouts(llama), 32, PAGE_SIZE, llama.device), llama.device)

    def run(*sequences: CachedTokens) -> torch.Tensor:
        for sequence in sequences:
            pool.grow(sequence.pages, len(sequence.token_ids))
        rows = [Row(sequence, sequence.remaining) for sequence in sequences]
        logits = runner.run(rows)
        for row in rows:
            row.sequence.computed += row.token_count
        return logits

    parent = CachedTokens([7 + (3 * i) % 200 for i in range(length)])
    run(parent)
    children: list[CachedTokens] = []
    for token in (50, 60):
        child = CachedTokens([*parent.token_ids, token], pool.hold(parent.pages[: length // PAGE_SIZE]), length)
        pool.grow(child.pages, length)
        children.append(child)
    runner.fork([(parent, child) for child in children])
    parent.token_ids.append(40)
    family = [parent, *children]
    for step in range(20):
        logits = run(*family)
        alone = [CachedTokens(list(one.token_ids)) for one in family]
        assert torch.allclose(logits, run(*alone), atol=1e-4)
        for one in alone:
            pool.release(one.pages)
        for i, one in enumerate(family):
            one.token_ids.append(10 * i + step)
