from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, T5Config

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.parallel.group import Rank
from services.engine.parallel.leading import divided, started_rank
from services.engine.parallel.plan import require_divided, require_divisible
from services.engine.parallel.step import packed_rows, rows_of
from tests.tiny.language_models import CONFIGS, random_model

LLAMA: dict[str, Any] = {
    "hidden_size": 96,
    "num_attention_heads": 12,
    "num_key_value_heads": 6,
    "intermediate_size": 96,
    "vocab_size": 240,
}
CASES = [
    (LlamaConfig(**LLAMA), {"rank_count": 4}, r"num_key_value_heads 6\); 2 or 3 or 6 would work"),
    (LlamaConfig(**LLAMA | {"vocab_size": 241}), {}, "vocab_size 241.*no number of GPUs but one"),
    (LlamaConfig(**LLAMA), {"quantization": "bitsandbytes-int8"}, "are not divided among GPUs. Use int8 or fp8_e4m3"),
    (
        LlamaConfig(**LLAMA, quantization_config={"quant_method": "bitsandbytes"}),
        {"quantization": "int8"},
        "comes quantized by bitsandbytes.*Serve the original checkpoint, with --quantization int8",
    ),
    (GPT2Config(), {}, "transformers has no plan"),
    (T5Config(), {}, "encoder-decoder"),
]


@pytest.mark.parametrize(("config", "changes", "told"), CASES)
def test_the_configuration_is_refused_with_what_would_work(config: Any, changes: dict[str, Any], told: str) -> None:
    checkpoint = Checkpoint("model", torch.device("cpu"), **({"rank_count": 2} | changes))
    with pytest.raises(ModelRefused, match=told):
        require_divisible(checkpoint, config)


@pytest.mark.parametrize("quantization", ["none", "int8", "fp8_e4m3"])
def test_what_can_be_divided_is_not_refused(quantization: str) -> None:
    checkpoint = Checkpoint("model", torch.device("cpu"), quantization=quantization, rank_count=3)
    require_divisible(checkpoint, LlamaConfig(**LLAMA))


def test_a_plan_that_divides_next_to_nothing_is_refused() -> None:
    with pytest.raises(ModelRefused, match="leaves 100% of its weights whole"):
        require_divided(random_model(CONFIGS["gpt_oss"]()), 2)


@pytest.mark.parametrize("device", ["cuda:1", "cpu"])
def test_gpus_are_chosen_outside(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    here = Checkpoint("model", torch.device("cpu"))
    with pytest.raises(ModelRefused, match="CUDA_VISIBLE_DEVICES"):
        divided(here, device, Rank(0, 2))
    with pytest.raises(ModelRefused, match="shows 4 GPUs"):
        divided(here, "auto", Rank(0, 8))
    assert divided(here, "auto", Rank(3, 4)).device == torch.device("cuda:3")


def test_torchrun_and_the_setting_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert started_rank(2) is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    assert started_rank(2) == Rank(1, 2)
    with pytest.raises(ModelRefused, match="give --tensor-parallel 2"):
        started_rank(1)


def test_a_step_is_told_in_full() -> None:
    rows = [
        Row(CachedTokens([5, 6, 7, 8, 9], [3, 1], 2), 2, scored=2),
        Row(CachedTokens([5, 6, 7], [4], 2), 1),
        Row(CachedTokens([5, 6, 7, 8], [2], 0), 4, scored=1),
    ]
    for told, row in zip(rows_of(packed_rows(rows)), rows, strict=True):
        ours, theirs = row.sequence, told.sequence
        assert (told.token_count, told.scored, told.completes) == (row.token_count, row.scored, row.completes)
        assert (theirs.pages, theirs.computed) == (ours.pages, ours.computed)
        new = slice(ours.computed, ours.computed + row.token_count)
        assert theirs.token_ids[new] == ours.token_ids[new]
