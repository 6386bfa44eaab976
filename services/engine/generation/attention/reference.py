"""The reference backend: row by row, with every formula written out. All faster backends are compared with it."""

import torch
from torch import Tensor

from services.engine.generation.attention.backend import AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch


class ReferenceAttention:
    """Exact attention on any device; softmax in float32."""

    def plan(self, batch: AttentionBatch) -> AttentionBatch:
        """See AttentionBackend.plan."""
        return batch

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor, plan: AttentionBatch) -> Tensor:
        """See AttentionBackend.attend."""
        plan.cache.write(layer.index, plan.slots, key, value)
        outputs: list[Tensor] = []
        for row in plan.rows:
            keys, values = plan.cache.read(layer.index, row.pages, row.context)
            queries = query[row.start : row.start + row.length]
            outputs.append(attend_row(layer, queries, keys, values, layer.bias_of(row)))
        return torch.cat(outputs)


def attend_row(
    layer: AttentionLayer, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Computes attention from the last `n` tokens of a sequence to the whole sequence.

    Args:
        layer: Scaling, window, softcap and sinks.
        query: `[n, heads, key_width]`.
        keys: `[context, kv_heads, key_width]`, context >= n.
        values: `[context, kv_heads, value_width]`.
        bias: `[heads, n, context]`, added to the scores.

    Returns:
        `[n, heads, value_width]` in the dtype of `values`.
    """
    new, heads, _ = query.shape
    context, kv_heads, _ = keys.shape
    grouped = query.reshape(new, kv_heads, heads // kv_heads, -1)
    scores = torch.einsum("nkgd,ckd->kgnc", grouped, keys).float() * layer.scaling
    if layer.softcap is not None:
        scores = torch.tanh(scores / layer.softcap) * layer.softcap
    if bias is not None:
        scores = scores + bias.float().reshape(kv_heads, -1, new, context)
    scores = scores.masked_fill(~visible(new, context, layer.sliding_window, query.device), float("-inf"))
    if layer.sinks is not None:
        sinks = layer.sinks.float().reshape(kv_heads, -1, 1, 1).expand(-1, -1, new, 1)
        scores = torch.cat([scores, sinks], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., :context].to(values.dtype)
    return torch.einsum("kgnc,ckd->nkgd", weights, values).reshape(new, heads, -1)


def visible(new: int, context: int, sliding_window: int | None, device: torch.device) -> Tensor:
    """Returns a bool mask `[new, context]`: which tokens each of the last `new` may attend to."""
    key_position = torch.arange(context, device=device)
    query_position = torch.arange(context - new, context, device=device).unsqueeze(1)
    mask = key_position <= query_position
    if sliding_window is not None:
        mask &= key_position > query_position - sliding_window
    return mask
