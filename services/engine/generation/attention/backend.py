"""The interface of attention backends, and the attention function through which unmodified models call them.

transformers lets a program register an attention function by name, and passes unknown keyword arguments of a model's
forward down to it. So all sequences are packed into one `[1, T]` row, the forward is given `attention_call=`, and every
attention layer of any architecture calls `attend_paged` below.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from transformers import AttentionInterface

from services.engine.generation.attention.batch import AttentionBatch, RowSpan

IMPLEMENTATION = "sensorium_paged"
"""Value of `attn_implementation` with which models use the paged cache."""


class LooksAhead(ValueError):
    """A layer lets tokens attend to later ones, which a KV cache does not support."""


_OF_STEPS = {"position_ids", "logits_to_keep"}
"""Tensors that the engine gives a model. Some models pass all of their arguments on to attention."""


class SeesFewer(ValueError):
    """A layer restricts by a tensor of its own what a token attends to, which the paged cache does not support.

    Such a tensor may be passed from the first token on, but mask nothing until there are thousands.
    """


@dataclass(frozen=True)
class AttentionLayer:
    """The properties of one layer's attention, as its module passes them in each call."""

    index: int
    scaling: float
    sliding_window: int | None = None
    """A token attends to itself and to at most `sliding_window - 1` tokens before it."""
    softcap: float | None = None
    sinks: Tensor | None = None
    """Learned logits `[heads]` that take part in the softmax but have no value."""
    bias: Tensor | None = None
    """Relative position bias, added to the scores: `[heads, T, longest context]`, T as in the packed batch."""

    def bias_of(self, row: RowSpan) -> Tensor | None:
        """Returns the bias `[heads, length, context]` of one row."""
        return None if self.bias is None else self.bias[:, row.start : row.start + row.length, : row.context]


class AttentionBackend(Protocol):
    """Stores new keys and values, and computes attention to everything that each row may see."""

    def plan(self, batch: AttentionBatch) -> Any:
        """Prepares a step's rows for `attend`, in the backend's own form. Called once per step."""
        ...

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor, plan: Any) -> Tensor:
        """Returns `[T, heads, value_width]`.

        Args:
            layer: Properties of this layer's attention.
            query: `[T, heads, key_width]` of the packed new tokens.
            key: `[T, kv_heads, key_width]`.
            value: `[T, kv_heads, value_width]`.
            plan: The result of `plan` for this step.
        """
        ...


@dataclass(frozen=True)
class AttentionCall:
    """The keyword argument that goes through a model's forward: a backend and its plan of the step."""

    backend: AttentionBackend
    plan: Any
    kept: Tensor | None = None
    """Ascending indices of the packed tokens whose last hidden states are read, int64 `[n]`, n >= 1. None: of all
    tokens.
    """


def attend_paged(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    attention_call: AttentionCall,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **told: Any,
) -> tuple[Tensor, None]:
    """Adapts transformers' attention interface, `[1, heads, T, width]`, to the backend of the call.

    Raises:
        LooksAhead: the layer is not causal.
        SeesFewer: the call has a mask, selected blocks, a bias or a similar tensor.
    """
    if not getattr(module, "is_causal", True):
        raise LooksAhead("its attention looks ahead: it is not causal, like an encoder's")
    for name, given in (("attention_mask", attention_mask), *told.items()):
        if isinstance(given, Tensor) and name not in _OF_STEPS:
            raise SeesFewer(f"its layers restrict by {name} what a token attends to")
    layer = AttentionLayer(
        index=int(module.layer_idx),  # type: ignore[arg-type]
        scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
        sliding_window=sliding_window,
        softcap=softcap,
        sinks=s_aux,
    )
    queries, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    output = attention_call.backend.attend(layer, queries, keys, values, attention_call.plan)
    return output.unsqueeze(0).contiguous(), None  # as transformers' own functions return it


def register() -> None:
    """Registers IMPLEMENTATION with transformers.

    No mask function is registered, so transformers builds no masks: backends do their own masking.
    """
    AttentionInterface.register(IMPLEMENTATION, attend_paged)
