"""The limits of the GPU, with which everything else is compared."""

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
    """Measured on this GPU at the start of the run."""

    copy_bytes: float
    """Bytes per second of a large copy, counting both reads and writes."""
    matmul_flops: float
    """FLOP per second of a large product in bfloat16."""

    def seconds(self, moved: float, flops: float = 0.0) -> float:
        """Returns the least seconds for moving `moved` bytes and computing `flops` operations."""
        return max(moved / self.copy_bytes, flops / self.matmul_flops)


def measure() -> Ceilings:
    """Measures medians of some rounds, on random data."""
    source = torch.randint(256, (_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copying = seconds_of(lambda: target.copy_(source))
    one, other = (torch.randn(_SIDE, _SIDE, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    multiplying = seconds_of(lambda: one @ other)
    return Ceilings(2 * _BYTES / copying, 2 * _SIDE**3 / multiplying)


def seconds_of(work: Callable[[], object]) -> float:
    """Returns the median seconds of `work` on the GPU, by CUDA events, after two warm-up rounds."""
    return median(times_of(work, rounds=_ROUNDS, warm=2))


def times_of(work: Callable[[], object], *, rounds: int, times: int = 1, warm: int = 1) -> list[float]:
    """Returns the seconds of `work` on the GPU in each round, by CUDA events; a round runs it `times` times."""
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
    """The least work of a step of a model, in bfloat16 or with 8-bit weights in its layers."""

    weight_bytes: int
    """All weights except experts and the embedding, of which a step reads few rows; including the scales of 8-bit
    weights.
    """
    row_flops: int
    """Products for a token, including logits, without attention."""
    token_bytes: int
    """Keys and values of one token of the context."""
    token_flops: int
    """`row_flops` without logits."""
    attention_flops: int
    """Products with one token of the context."""
    expert_bytes: int = 0
    """One expert of every layer; 0 without experts."""
    experts: int = 1
    choices: int = 1

    @staticmethod
    def of(config: PretrainedConfig, *, narrow: bool = False) -> "Work":
        """Returns the work of a Llama or a mixture of experts; `narrow` with 8-bit weights."""
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
        """Returns the least seconds of a decode step of `rows` rows with `context` tokens each, if experts are chosen
        at random.
        """
        chosen = self.experts * (1 - (1 - self.choices / self.experts) ** rows)
        moved = self.weight_bytes + chosen * self.expert_bytes + rows * context * self.token_bytes
        counted = rows * (self.row_flops + context * self.attention_flops)
        return ceilings.seconds(moved, counted)

    def reading_seconds(self, ceilings: Ceilings, rows: int, before: int, length: int) -> float:
        """Returns the least seconds of a step that reads `length` tokens of each row after the first `before`."""
        counted = self.prompt_flops(rows, before + length) - self.prompt_flops(rows, before)
        moved = self.weight_bytes + self.experts * self.expert_bytes + rows * (before + length) * self.token_bytes
        return ceilings.seconds(moved, counted)

    def prompt_flops(self, rows: int, length: int) -> float:
        """Returns the operations for reading `rows` prompts of `length` tokens, without logits."""
        return rows * (length * self.token_flops + length * (length + 1) / 2 * self.attention_flops)
