"""The interface of attention backends, and the function through which unmodified models reach them.

transformers lets a program register an attention function by name and passes unknown keyword arguments of a model's
forward down to it. So all sequences are packed into one `[1, T]` row, the forward is given `attention_call=`, and
every attention layer lands in `attend_paged` below, whatever the architecture.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from transformers import AttentionInterface

from services.engine.generation.attention.batch import AttentionBatch, RowSpan

IMPLEMENTATION = "sensorium_paged"
"""Value of `attn_implementation` under which models use the paged cache."""


class LooksAhead(ValueError):
    """A layer lets tokens see those behind them, which no cache of keys and values can serve."""


_OF_STEPS = {"position_ids", "logits_to_keep"}
"""Tensors that the engine gives a model, some of which hand on to attention whatever they are given."""


class SeesFewer(ValueError):
    """A layer says by a tensor of its own what each token sees, of which a cache in pages knows nothing.

    It may say so from the first token on and leave nothing out until there are thousands.
    """


@dataclass(frozen=True)
class AttentionLayer:
    """What one layer's attention looks like, as its module says at the call."""

    index: int
    scaling: float
    sliding_window: int | None = None
    """A token sees itself and at most `sliding_window - 1` tokens before it."""
    softcap: float | None = None
    sinks: Tensor | None = None
    """Learned logits `[heads]` that take part in the softmax and attend to nothing."""
    bias: Tensor | None = None
    """Added to the scores, by how far apart tokens are: `[heads, T, longest context]`, T as in the packed batch."""

    def bias_of(self, row: RowSpan) -> Tensor | None:
        """Returns the bias `[heads, length, context]` of one row."""
        return None if self.bias is None else self.bias[:, row.start : row.start + row.length, : row.context]


class AttentionBackend(Protocol):
    """Stores the new keys and values and attends to everything each row may see."""

    def plan(self, batch: AttentionBatch) -> Any:
        """Returns what `attend` needs of a step's rows, in the backend's own form. Called once per step."""
        ...

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor, plan: Any) -> Tensor:
        """Returns `[T, heads, value_width]`.

        Args:
            layer: What this layer's attention looks like.
            query: `[T, heads, key_width]` of the packed new tokens.
            key: `[T, kv_heads, key_width]`.
            value: `[T, kv_heads, value_width]`.
            plan: What `plan` made of the step's rows.
        """
        ...


@dataclass(frozen=True)
class AttentionCall:
    """The keyword argument that travels through a model's forward: a backend with its plan of the step."""

    backend: AttentionBackend
    plan: Any
    kept: Tensor | None = None
    """Places in the packed batch `[n]`, int64, ascending, n >= 1: what comes out of the model's last layer is read of
    these tokens only. None: of all."""


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
        LooksAhead: the layer is an encoder's.
        SeesFewer: a mask, chosen blocks, a bias or the like comes with the call.
    """
    if not getattr(module, "is_causal", True):
        raise LooksAhead("its attention looks ahead, as that of encoders does")
    for name, given in (("attention_mask", attention_mask), *told.items()):
        if isinstance(given, Tensor) and name not in _OF_STEPS:
            raise SeesFewer(f"its layers say by {name} what a token sees")
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
    """Makes IMPLEMENTATION known to transformers.

    Masks are the backend's own business: transformers builds none for an implementation without a function for them.
    """
    AttentionInterface.register(IMPLEMENTATION, attend_paged)
