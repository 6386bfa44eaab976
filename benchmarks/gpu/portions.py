"""The least work of each kernel of a layer: bytes to move, and operations."""

from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig


@dataclass(frozen=True)
class Portion:
    """The least work of one kernel."""

    name: str
    moved: float
    """Bytes."""
    flops: float


@dataclass(frozen=True)
class Portions:
    """The least work of a step's kernels."""

    products: list[Portion]
    """Products of a layer in order, without those of experts."""
    experts: list[Portion]
    """Both products of the chosen experts, if rows choose at random; empty without experts."""
    attention: Portion
    """Of one layer."""
    head: Portion

    @staticmethod
    def decoding(config: PretrainedConfig, rows: int, context: int, *, narrow: bool) -> "Portions":
        """Returns the work of a step that decodes `rows` rows with `context` tokens each; `narrow`: 8-bit weights."""
        return _portions(config, rows, rows, rows * context, rows * context, narrow)

    @staticmethod
    def reading(config: PretrainedConfig, rows: int, before: int, tokens: int, *, narrow: bool) -> "Portions":
        """Returns the work of a step that reads `tokens` tokens of each row after the first `before`."""
        seen = tokens * before + tokens * (tokens + 1) // 2
        return _portions(config, rows * tokens, rows, rows * (before + tokens), rows * seen, narrow)


def products_of(config: Any) -> dict[str, tuple[int, int]]:
    """Returns the products of a layer by name, as (outputs, inputs); in a mixture, those of one expert among them."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    feed = getattr(config, "moe_intermediate_size", config.intermediate_size)
    width = getattr(config, "head_dim", None) or hidden // heads
    inward, outward = width * (heads + 2 * config.num_key_value_heads), width * heads
    return {
        "qkv": (inward, hidden), "output": (hidden, outward), "gate, up": (2 * feed, hidden), "down": (hidden, feed)
    }  # fmt: skip


def _portions(config: Any, tokens: int, outputs: int, kept: int, seen: int, narrow: bool) -> Portions:
    """Returns the work of a step: `tokens` tokens, `outputs` of them with logits, `kept` tokens in the cache, and
    `seen` pairs of a token and one that it attends to.
    """
    of_weight = 1 if narrow else 2
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    experts, choices = getattr(config, "num_local_experts", 0), getattr(config, "num_experts_per_tok", 1)
    products, chosen = list[Portion](), list[Portion]()
    for name, (units, inputs) in products_of(config).items():
        if experts and name in ("gate, up", "down"):
            read = experts * (1 - (1 - choices / experts) ** tokens)
            chosen.append(Portion(name, read * of_weight * units * inputs, 2.0 * tokens * choices * units * inputs))
        else:
            products.append(Portion(name, of_weight * units * inputs, 2.0 * tokens * units * inputs))
    attention = Portion("attention", 4.0 * kept * kv_heads * width, 4.0 * seen * heads * width)
    units = config.vocab_size * config.hidden_size
    return Portions(products, chosen, attention, Portion("head", 2.0 * units, 2.0 * outputs * units))
