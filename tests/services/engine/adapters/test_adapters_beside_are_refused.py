"""An adapter that cannot stay beside the model is refused by name, with advice what to do instead."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from services.engine.adapters.named import read_named, with_adapters
from services.engine.checkpoint import TRUST_NOTHING, ModelRefused
from services.engine.loading import LoadedModel
from services.text.config import TextSettings
from tests.services.bench import build
from tests.tiny.adapters import factors, load, pair, write_adapter
from tests.tiny.language_models import tokenizer, write_checkpoint

LAYER = "model.layers.0.self_attn.q_proj"
MERGE = "--adapter merges it"


def beside(loaded: LoadedModel, folder: Path, tensors: dict[str, Tensor], **config: object) -> LoadedModel:
    adapters = read_named({"bot": str(write_adapter(folder, "acme/model", tensors, **config))}, TRUST_NOTHING)
    return with_adapters(loaded, adapters, TRUST_NOTHING)


def both(layer: str, out: int, into: int, form: str = "lora_{}.weight") -> dict[str, Tensor]:
    return pair(f"{layer}.{form.format('A')}", f"{layer}.{form.format('B')}", (out, into))


CASES: dict[str, tuple[dict[str, Tensor], str]] = {
    "a head": (both("lm_head", 320, 32), "changes lm_head, which is no linear layer"),
    "embeddings": (both("model.embed_tokens", 32, 320, "lora_embedding_{}"), "changes model.embed_tokens, which is no"),
    "a whole layer": ({"lm_head.weight": torch.zeros(320, 32)}, "brings lm_head.weight whole"),
    "rows": ({"model.embed_tokens.token_adapter.trainable_tokens_delta": torch.zeros(1, 32)}, "whole"),
    "a bias": (both(LAYER, 32, 32) | {f"{LAYER}.lora_B.bias": torch.zeros(32)}, f"changes the bias of {LAYER}"),
    "another model": (
        both("model.layers.9.self_attn.q_proj", 32, 32),
        "which the model does not have. It was made for",
    ),
    "another width": (both(LAYER, 48, 32), f"its factors of {LAYER}, which is 32×32, are 4×32 and 48×4"),
    "no number": ({name: each * float("inf") for name, each in both(LAYER, 32, 32).items()}, "not finite"),
}
UNFIT = {"another model", "another width", "no number"}
"""What merging would refuse too."""


@pytest.mark.parametrize("case", CASES)
def test_adapters_that_do_more_or_fit_less(case: str, llama: LoadedModel, tmp_path: Path) -> None:
    tensors, told = CASES[case]
    with pytest.raises(ModelRefused) as refused:
        beside(llama, tmp_path, tensors)
    assert told in str(refused.value)
    assert (MERGE in str(refused.value)) == (case not in UNFIT)


def test_other_tokens(llama: LoadedModel, tmp_path: Path) -> None:
    changed = tokenizer()
    changed.add_tokens(["<new>"])
    changed.save_pretrained(tmp_path)
    with pytest.raises(ModelRefused, match=f"other tokens than the model's. .*{MERGE}"):
        beside(llama, tmp_path, both(LAYER, 32, 32))


def test_experts(tmp_path: Path) -> None:
    loaded = load(write_checkpoint(tmp_path / "base", "mixtral"))
    expert = "model.layers.1.block_sparse_moe.experts.2.w1"
    with pytest.raises(ModelRefused, match=f"changes {expert}, which is no linear layer"):
        beside(loaded, tmp_path / "adapter", both(expert, 64, 32))


def test_models_whose_weights_are_rounded(llama: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="weights that were not rounded, and those of LlamaForCausalLM are, by int8"):
        beside(replace(llama, quantization="int8"), tmp_path, both(LAYER, 32, 32))


@pytest.mark.parametrize(("name", "told"), [("bart", "an encoder and a decoder"), ("bloom", "lie in pages. Bloom")])
def test_models_without_pages(name: str, told: str, tmp_path: Path) -> None:
    loaded = load(write_checkpoint(tmp_path / "base", name))
    with pytest.raises(ModelRefused, match=f"--adapters is for decoders.*{told}"):
        build(beside(loaded, tmp_path / "adapter", factors(loaded.model, "query_key_value", "q_proj")))


def test_layers_that_are_given_other_tokens(tmp_path: Path) -> None:
    """Like an expert's layers, each of which is given only some of a step's tokens."""
    loaded = load(write_checkpoint(tmp_path / "base", "llama"))
    loaded = beside(loaded, tmp_path / "adapter", both(LAYER, 32, 32))
    attention = loaded.model.get_submodule("model.layers.0.self_attn")
    layer = attention.get_submodule("q_proj")
    vars(attention)["q_proj"] = lambda given: torch.cat([layer(half) for half in given.chunk(2, -2)], -2)
    with pytest.raises(ModelRefused, match="The adapter bot cannot stay beside LlamaForCausalLM"):
        build(loaded)


@pytest.mark.parametrize("adapters", ["bot", "bot=", "=place", "bot=one,bot=two"])
def test_settings_that_name_none_or_one_twice(adapters: str) -> None:
    with pytest.raises(ValidationError):
        TextSettings(model="x", adapters=adapters)  # type: ignore[arg-type]
