from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward as with_softcap
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward as with_sinks
from transformers.models.llama.modeling_llama import eager_attention_forward as plain

from services.engine.generation.attention.backend import AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.attention.reference import ReferenceAttention, attend_row
from services.engine.generation.kv_cache import KVCache, LayerLayout

HEADS, WIDTH, TOKENS = 6, 8, 23


def tensors(kv_heads: int, tokens: int = TOKENS, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((tokens, HEADS, WIDTH), (tokens, kv_heads, WIDTH), (tokens, kv_heads, WIDTH))
    query, key, value = (torch.randn(*shape, generator=generator) for shape in shapes)
    return query, key, value


def mask(tokens: int, window: int | None) -> Tensor:
    """Returns the additive mask, written out token by token."""
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


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_chunks_of_interleaved_rows_on_scattered_pages_equal_the_whole(layer: AttentionLayer) -> None:
    cache = KVCache({0: LayerLayout(2, WIDTH, WIDTH, torch.float32)}, 64, 4, torch.device("cpu"))
    pages = torch.randperm(64, generator=torch.Generator().manual_seed(9))
    rows = [tensors(2, tokens, seed=tokens) for tokens in (23, 9, 17)]
    slots = [
        (pages[20 * i : 20 * i + 6].unsqueeze(1) * 4 + torch.arange(4)).flatten()[: len(row[0])]
        for i, row in enumerate(rows)
    ]
    done = [0, 0, 0]
    outputs: list[list[Tensor]] = [[], [], []]
    for sizes in [(7, 3, 1), (1, 1, 1), (5, 0, 8), (1, 1, 7), (9, 4, 0)]:
        spans, parts, new = [], [], []
        for i, size in enumerate(sizes):
            if not size:
                continue
            part = slice(done[i], done[i] + size)
            spans.append(RowSpan(sum(len(p[0]) for p in parts), size, done[i] + size, slots[i][: done[i] + size]))
            parts.append([tensor[part] for tensor in rows[i]])
            new.append((i, slots[i][part]))
        batch = AttentionBatch(spans, torch.cat([part for _, part in new]), cache)
        packed = ReferenceAttention().attend(layer, *(torch.cat(column) for column in zip(*parts, strict=True)), batch)
        for (i, _), span in zip(new, spans, strict=True):
            outputs[i].append(packed[span.start : span.start + span.length])
            done[i] += span.length
    for row, output in zip(rows, outputs, strict=True):
        torch.testing.assert_close(torch.cat(output), eager(layer, *row))


def test_values_may_be_of_another_width_than_keys() -> None:
    query, key, _ = tensors(2)
    value = torch.randn(TOKENS, 2, 3, generator=torch.Generator().manual_seed(8))
    output = attend_row(AttentionLayer(0, 0.35), query, key, value)
    assert output.shape == (TOKENS, HEADS, 3)
    torch.testing.assert_close(output, eager(AttentionLayer(0, 0.35), query, key, value))


def test_the_cache_reads_what_was_written_and_leaves_other_slots_alone() -> None:
    layouts = {0: LayerLayout(2, 4, 3, torch.float32), 5: LayerLayout(1, 4, 4, torch.bfloat16)}
    cache = KVCache(layouts, 3, 4, torch.device("cpu"))
    keys, values = torch.randn(2, 2, 4), torch.randn(2, 2, 3)
    for _ in range(2):  # a step that is repeated writes again
        cache.write(0, torch.tensor([9, 2]), keys, values)
    read_keys, read_values = cache.read(0, torch.tensor([2, 9, 3]))
    assert torch.equal(read_keys, torch.stack([keys[1], keys[0], torch.zeros(2, 4)]))
    assert torch.equal(read_values, torch.stack([values[1], values[0], torch.zeros(2, 3)]))
    assert not cache.read(5, torch.arange(12))[0].any()
    assert [layout.bytes_per_token for layout in layouts.values()] == [2 * 7 * 4, 8 * 2]
