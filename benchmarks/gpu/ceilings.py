"""What the GPU can do: the rates that everything else is held against."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from transformers import PretrainedConfig

_ROUNDS = 9
_BYTES = 2 << 30
_SIDE = 8192


@dataclass(frozen=True)
class Ceilings:
    """Measured on this GPU, now."""

    copy_bytes: float
    """Bytes per second of a large copy, read and written ones counted."""
    matmul_flops: float
    """Of a large product in bfloat16, per second."""

    def seconds(self, moved: float, flops: float = 0.0) -> float:
        """Returns the least time in which so many bytes are moved and so many operations done."""
        return max(moved / self.copy_bytes, flops / self.matmul_flops)


def measure() -> Ceilings:
    """Returns the medians of some rounds, on random data."""
    source = torch.randint(256, (_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copying = seconds_of(lambda: target.copy_(source))
    one, other = (torch.randn(_SIDE, _SIDE, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    multiplying = seconds_of(lambda: one @ other)
    return Ceilings(2 * _BYTES / copying, 2 * _SIDE**3 / multiplying)


def seconds_of(work: Callable[[], object]) -> float:
    """Returns the median time of `work` on the GPU, by events, after two rounds that warm up."""
    return median(times_of(work, rounds=_ROUNDS, warm=2))


def times_of(work: Callable[[], object], *, rounds: int, times: int = 1, warm: int = 1) -> list[float]:
    """Returns what `work` takes on the GPU in each round, by events, where a round does it so many times on end."""
    found: list[float] = []
    for _ in range(warm + rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(times):
            work()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1000 / times)
    return found[warm:]


@dataclass(frozen=True)
class Work:
    """What a step of a model must do at least, in bfloat16, or with weights of 8 bits in its layers."""

    weight_bytes: int
    """All weights but the embedding, of which a step reads a few rows, and experts; with the scales of narrow ones."""
    row_flops: int
    """Products of a token, logits included, but for attention."""
    token_bytes: int
    """Of the keys and values of a token of the context."""
    token_flops: int
    """The same without logits."""
    attention_flops: int
    """Products with a token of the context."""
    expert_bytes: int = 0
    """The same expert of all layers, where there are any."""
    experts: int = 1
    choices: int = 1

    @staticmethod
    def of(config: PretrainedConfig, *, narrow: bool = False) -> "Work":
        """Returns that of a Llama or a mixture of experts; `narrow` with weights of 8 bits."""
        hidden, layers = config.hidden_size, config.num_hidden_layers
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        width = getattr(config, "head_dim", None) or hidden // heads
        experts, choices = getattr(config, "num_local_experts", 0), getattr(config, "num_experts_per_tok", 1)
        feed = getattr(config, "moe_intermediate_size", config.intermediate_size)
        attending, fed, head = (
            hidden * width * (2 * heads + 2 * kv_heads),
            3 * hidden * feed,
            hidden * config.vocab_size,
        )
        inner = layers * (attending + choices * fed + experts * hidden)
        attention = 4 * layers * heads * width
        attending_scales, fed_scales = width * (heads + 2 * kv_heads) + hidden, hidden + 2 * feed

        def held(numbers: int, scales: int) -> int:
            return layers * (numbers + 4 * scales if narrow else 2 * numbers)

        kept, one = held(attending, attending_scales) + 2 * layers * experts * hidden, held(fed, fed_scales)
        return Work(
            kept + 2 * head + (0 if experts else one), 2 * (inner + head), 4 * layers * kv_heads * width, 2 * inner,
            attention, one if experts else 0, max(experts, 1), choices,
        )  # fmt: skip

    def decode_seconds(self, ceilings: Ceilings, rows: int, context: int) -> float:
        """Returns the least time of a step of so many rows, each with that context, if they choose by chance."""
        chosen = self.experts * (1 - (1 - self.choices / self.experts) ** rows)
        moved = self.weight_bytes + chosen * self.expert_bytes + rows * context * self.token_bytes
        counted = rows * (self.row_flops + context * self.attention_flops)
        return ceilings.seconds(moved, counted)

    def reading_seconds(self, ceilings: Ceilings, rows: int, before: int, length: int) -> float:
        """Returns the least time of a step that reads so many tokens of each row behind those that came before."""
        counted = self.prompt_flops(rows, before + length) - self.prompt_flops(rows, before)
        moved = self.weight_bytes + self.experts * self.expert_bytes + rows * (before + length) * self.token_bytes
        return ceilings.seconds(moved, counted)

    def prompt_flops(self, rows: int, length: int) -> float:
        """Returns the operations of reading so many prompts, without the last layer's logits."""
        return rows * (length * self.token_flops + length * (length + 1) / 2 * self.attention_flops)
