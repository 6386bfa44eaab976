from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward as with_softcap
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward as with_sinks
from transformers.models.llama.modeling_llama import eager_attention_forward as plain

from services.engine.generation.attention.backend import AttentionBackend, AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.attention.cpu import PAGE_SIZE, CpuAttention
from services.engine.generation.attention.reference import ReferenceAttention, attend_row
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from tests.services.engine.native.instruction_sets import LIBRARIES

HEADS, WIDTH, TOKENS = 6, 8, 23


def tensors(kv_heads: int, tokens: int = TOKENS, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((tokens, HEADS, WIDTH), (tokens, kv_heads, WIDTH), (tokens, kv_heads, WIDTH))
    query, key, value = (torch.randn(*shape, generator=generator) for shape in shapes)
    return query, key, value


def mask(tokens: int, window: int | None) -> Tensor:
    """Returns the additive mask, built token by token."""
    allowed = [[k <= q and (window is None or q - k < window) for k in range(tokens)] for q in range(tokens)]
    return torch.zeros(1, 1, tokens, tokens).masked_fill(~torch.tensor(allowed), float("-inf"))


def eager(layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    module = SimpleNamespace(num_key_value_groups=HEADS // key.shape[1], training=False, sinks=layer.sinks)
    batched = [tensor.transpose(0, 1).unsqueeze(0) for tensor in (query, key, value)]
    allowed = mask(len(query), layer.sliding_window)
    if layer.sinks is not None:
        output, _ = with_sinks(module, *batched, allowed, layer.scaling)
    elif layer.softcap is not None:
        output, _ = with_softcap(module, *batched, allowed, scaling=layer.scaling, softcap=layer.softcap)
    else:
        output, _ = plain(module, *batched, allowed, layer.scaling)
    return output[0]


BACKENDS: dict[str, AttentionBackend] = {"reference": ReferenceAttention()}
BACKENDS |= {name: CpuAttention(library) for name, library in LIBRARIES.items()}
compiled = pytest.mark.skipif(not LIBRARIES, reason="there is no C compiler on this machine")

LAYERS = {
    "plain": AttentionLayer(0, 0.35),
    "window": AttentionLayer(0, 0.35, sliding_window=5),
    "window of one": AttentionLayer(0, 0.35, sliding_window=1),
    "window beyond the text": AttentionLayer(0, 0.35, sliding_window=100),
    "softcap": AttentionLayer(0, 2.0, softcap=1.5),
    "sinks": AttentionLayer(0, 0.35, sinks=torch.linspace(-2, 3, HEADS)),
    "window and sinks": AttentionLayer(0, 0.35, sliding_window=4, sinks=torch.linspace(-2, 3, HEADS)),
}


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_a_whole_sequence_equals_the_formula_of_transformers(layer: AttentionLayer, kv_heads: int) -> None:
    query, key, value = tensors(kv_heads)
    torch.testing.assert_close(attend_row(layer, query, key, value), eager(layer, query, key, value))


STEPS = [(7, 3, 1), (1, 1, 1), (45, 0, 8), (1, 1, 7), (16, 4, 50)]
"""New tokens of three rows in each step: prompts in short and long chunks beside rows that decode."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())
def test_chunks_of_interleaved_rows_on_scattered_pages_equal_the_whole(
    backend: AttentionBackend, layer: AttentionLayer, kv_heads: int, dtype: torch.dtype
) -> None:
    cache = KVCache({0: LayerLayout(HEADS, kv_heads, WIDTH, WIDTH, dtype)}, 64, PAGE_SIZE, torch.device("cpu"))
    scattered = torch.randperm(64, generator=torch.Generator().manual_seed(9))
    lengths = [sum(sizes) for sizes in zip(*STEPS, strict=True)]
    rows = [[t.to(dtype) for t in tensors(kv_heads, tokens, seed=tokens)] for tokens in lengths]
    pages = [scattered[20 * i : 20 * i + 6].contiguous() for i in range(3)]
    done = [0, 0, 0]
    outputs: list[list[Tensor]] = [[], [], []]
    for sizes in STEPS:
        spans, parts, slots, who = [], [], [], []
        for i, size in enumerate(sizes):
            if not size:
                continue
            places = torch.arange(done[i], done[i] + size)
            spans.append(RowSpan(sum(len(part[0]) for part in parts), size, done[i] + size, pages[i]))
            parts.append([tensor[places] for tensor in rows[i]])
            slots.append(pages[i][places // PAGE_SIZE] * PAGE_SIZE + places % PAGE_SIZE)
            who.append(i)
            done[i] += size
        plan = backend.plan(AttentionBatch(spans, torch.cat(slots), cache))
        packed = backend.attend(layer, *(torch.cat(column) for column in zip(*parts, strict=True)), plan)
        for i, span in zip(who, spans, strict=True):
            outputs[i].append(packed[span.start : span.start + span.length])
    for row, output in zip(rows, outputs, strict=True):
        exact = eager(layer, *(tensor.float() for tensor in row))
        tolerance = {} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
        torch.testing.assert_close(torch.cat(output).float(), exact, **tolerance)


@compiled
def test_the_library_takes_sizes_that_fill_no_vector() -> None:
    """Keys and values with different widths that do not fill a vector, and many query heads for one key head."""
    heads, key_width, value_width = 12, 7, 21
    cache = KVCache(
        {0: LayerLayout(heads, 1, key_width, value_width, torch.float32)}, 8, PAGE_SIZE, torch.device("cpu")
    )
    generator = torch.Generator().manual_seed(3)
    query, key, value = (
        torch.randn(31, count, width, generator=generator)
        for count, width in ((heads, key_width), (1, key_width), (1, value_width))
    )
    pages = torch.tensor([5, 2])
    slots = pages[torch.arange(31) // PAGE_SIZE] * PAGE_SIZE + torch.arange(31) % PAGE_SIZE
    backend = BACKENDS["native"]
    plan = backend.plan(AttentionBatch([RowSpan(0, 31, 31, pages)], slots, cache))
    layer = AttentionLayer(0, 0.3)
    torch.testing.assert_close(backend.attend(layer, query, key, value, plan), attend_row(layer, query, key, value))


@compiled
def test_large_scores_neither_overflow_nor_vanish() -> None:
    cache = KVCache({0: LayerLayout(1, 1, 16, 16, torch.float32)}, 8, PAGE_SIZE, torch.device("cpu"))
    query, key, value = (
        100 * tensor for tensor in (torch.ones(20, 1, 16), torch.ones(20, 1, 16), torch.ones(20, 1, 16))
    )
    key[3] *= -1
    slots = torch.arange(20)
    backend = BACKENDS["native"]
    plan = backend.plan(AttentionBatch([RowSpan(0, 20, 20, torch.arange(2))], slots, cache))
    layer = AttentionLayer(0, 1.0)
    torch.testing.assert_close(backend.attend(layer, query, key, value, plan), attend_row(layer, query, key, value))


def test_values_may_be_of_another_width_than_keys() -> None:
    query, key, _ = tensors(2)
    value = torch.randn(TOKENS, 2, 3, generator=torch.Generator().manual_seed(8))
    output = attend_row(AttentionLayer(0, 0.35), query, key, value)
    assert output.shape == (TOKENS, HEADS, 3)
    torch.testing.assert_close(output, eager(AttentionLayer(0, 0.35), query, key, value))


def test_the_cache_reads_what_was_written_and_leaves_other_slots_alone() -> None:
    layouts = {0: LayerLayout(4, 2, 4, 3, torch.float32), 5: LayerLayout(1, 1, 4, 4, torch.bfloat16)}
    cache = KVCache(layouts, 3, 4, torch.device("cpu"))
    keys, values = torch.randn(2, 2, 4), torch.randn(2, 2, 3)
    for _ in range(2):  # a repeated step writes its tokens again
        cache.write(0, torch.tensor([9, 2]), keys, values)
    read_keys, read_values = cache.read(0, torch.tensor([2, 0]), 7)
    empty = torch.zeros(7, 2, 4), torch.zeros(7, 2, 3)
    empty[0][1], empty[1][1] = keys[0], values[0]
    empty[0][6], empty[1][6] = keys[1], values[1]
    assert torch.equal(read_keys, empty[0])
    assert torch.equal(read_values, empty[1])
    assert not cache.read(5, torch.arange(3), 12)[0].any()
    assert [layout.bytes_per_token for layout in layouts.values()] == [2 * (4 + 16) * 4, (4 + 16) * 2]
