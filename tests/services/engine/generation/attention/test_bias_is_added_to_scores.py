import pytest
import torch
from torch import Tensor

from services.engine.generation.attention.backend import AttentionBackend, AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from tests.services.engine.generation.attention.test_backends_equal_eager_attention import BACKENDS

PAGE = 16
HEADS, KV_HEADS, WIDTH = 4, 2, 16
ROWS = [(3, 40), (1, 1), (1, 23), (37, 37)]
"""New tokens and context of each row of a step."""


def exact(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scaling: float) -> Tensor:
    """Computes attention from the last tokens of one sequence to all of it, by the formula."""
    new, context = len(query), len(keys)
    keys, values = (tensor.repeat_interleave(HEADS // KV_HEADS, dim=1) for tensor in (keys, values))
    scores = torch.einsum("nhd,chd->hnc", query, keys) * scaling + bias
    hidden = torch.arange(context) > torch.arange(context - new, context).unsqueeze(1)
    return torch.einsum("hnc,chd->nhd", scores.masked_fill(hidden, float("-inf")).softmax(dim=-1), values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())
def test_each_row_has_the_part_of_its_own_tokens(backend: AttentionBackend, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    cache = KVCache({0: LayerLayout(HEADS, KV_HEADS, WIDTH, WIDTH, dtype)}, 16, PAGE, torch.device("cpu"))
    count, longest = sum(new for new, _ in ROWS), max(context for _, context in ROWS)
    # A view that is not contiguous, like a model's permuted table.
    bias = torch.randn(count, longest, HEADS, generator=generator).permute(2, 0, 1).to(dtype)
    spans, slots, parts, sequences, start = [], [], [], [], 0
    for i, (new, context) in enumerate(ROWS):
        pages = torch.arange(3) * 5 + i
        keys, values = (torch.randn(context, KV_HEADS, WIDTH, generator=generator).to(dtype) for _ in range(2))
        places = pages[torch.arange(context) // PAGE] * PAGE + torch.arange(context) % PAGE
        cache.write(0, places[: context - new], keys[: context - new], values[: context - new])
        spans.append(RowSpan(start, new, context, pages))
        slots.append(places[context - new :])
        parts.append((torch.randn(new, HEADS, WIDTH, generator=generator).to(dtype), keys[-new:], values[-new:]))
        sequences.append((keys, values))
        start += new
    plan = backend.plan(AttentionBatch(spans, torch.cat(slots), cache))
    packed = [torch.cat(column) for column in zip(*parts, strict=True)]
    output = backend.attend(AttentionLayer(0, 0.3, bias=bias), *packed, plan)
    tolerance = {} if dtype == torch.float32 else {"rtol": 3e-2, "atol": 3e-2}
    for span, (query, _, _), (keys, values) in zip(spans, parts, sequences, strict=True):
        end = span.start + span.length
        own = bias[:, span.start : end, : span.context].float()
        wanted = exact(query.float(), keys.float(), values.float(), own, 0.3)
        torch.testing.assert_close(output[span.start : end].float(), wanted, **tolerance)


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())
def test_a_layer_may_have_another_bias_at_its_next_call(backend: AttentionBackend) -> None:
    cache = KVCache({0: LayerLayout(1, 1, 16, 16, torch.float32)}, 2, PAGE, torch.device("cpu"))
    tensors = [torch.randn(4, 1, 16, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    plan = backend.plan(AttentionBatch([RowSpan(0, 4, 4, torch.tensor([1]))], torch.arange(16, 20), cache))
    outputs = [
        backend.attend(AttentionLayer(0, 0.3, bias=bias), *tensors, plan)
        for bias in (None, torch.zeros(1, 4, 4), torch.linspace(0, 9, 16).view(1, 4, 4), None)
    ]
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[3])
    assert not torch.allclose(outputs[0], outputs[2])


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())
def test_a_step_that_stores_nothing_attends_to_what_is_there(backend: AttentionBackend) -> None:
    """As cross-attention does: each token sees all stored tokens, and the step stores none."""
    cache = KVCache({0: LayerLayout(HEADS, KV_HEADS, WIDTH, WIDTH, torch.float32)}, 4, PAGE, torch.device("cpu"))
    generator = torch.Generator().manual_seed(6)
    keys, values = (torch.randn(20, KV_HEADS, WIDTH, generator=generator) for _ in range(2))
    pages = torch.tensor([3, 1])
    cache.write(0, pages[torch.arange(20) // PAGE] * PAGE + torch.arange(20) % PAGE, keys, values)
    before = cache.keys(0).clone()
    query, nothing = torch.randn(2, HEADS, WIDTH, generator=generator), torch.empty(0, KV_HEADS, WIDTH)
    spans = [RowSpan(i, 1, 20, pages) for i in range(2)]
    plan = backend.plan(AttentionBatch(spans, torch.empty(0, dtype=torch.int64), cache))
    output = backend.attend(AttentionLayer(0, 0.3), query, nothing, nothing, plan)
    for i in range(2):
        wanted = exact(query[i : i + 1], keys, values, torch.zeros(1, 1, 1), 0.3)
        torch.testing.assert_close(output[i : i + 1], wanted)
    assert torch.equal(cache.keys(0), before)
