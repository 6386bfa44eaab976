"""What PEFT writes beyond a pair of factors for each linear layer, against the formula by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from services.engine.adapters.beside import Span
from services.engine.adapters.named import read_named, with_adapters
from services.engine.checkpoint import TRUST_NOTHING
from services.engine.loading import LoadedModel
from tests.tiny.adapters import load, pair, write_adapter
from tests.tiny.language_models import write_checkpoint

EMBEDDINGS = {"gemma3": "model.embed_tokens", "gpt2": "transformer.wte"}
"""Models whose layer behind the last shares the weight of their embeddings; PEFT knows the first by its name."""
ROWS = "token_adapter.trainable_tokens_delta"


@pytest.fixture(params=EMBEDDINGS)
def tied(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A model and the name of its embeddings, 320 tokens by 32 numbers."""
    return write_checkpoint(tmp_path / "base", request.param), EMBEDDINGS[request.param]


def own(base: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def ends(loaded: LoadedModel | PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Returns the weights of the embeddings and of the layer behind the last."""
    model: Any = loaded if isinstance(loaded, PreTrainedModel) else loaded.model
    return model.get_input_embeddings().weight, model.get_output_embeddings().weight


def embedding_pair(place: str) -> dict[str, Tensor]:
    return pair(f"{place}.lora_embedding_A", f"{place}.lora_embedding_B", (32, 320))


def test_embeddings_that_were_trained_as_one_are_changed_once(tmp_path: Path) -> None:
    """PEFT saves their factors for each layer that shares the weight, and the weight beside them."""
    base = write_checkpoint(tmp_path / "base", "gemma3")
    weight, place = ends(own(base))[0].detach(), EMBEDDINGS["gemma3"]
    trained = embedding_pair(place)
    first, second = trained.values()
    trained |= {"lm_head.lora_A.weight": second.T.clone(), "lm_head.lora_B.weight": first.T.clone()}
    trained |= {f"{layer}.base_layer.weight": weight.clone() for layer in (place, "lm_head")}
    told: dict[str, Any] = {"ensure_weight_tying": True, "target_modules": ["q_proj", "embed_tokens"]}
    embed, head = ends(load(base, write_adapter(tmp_path / "bot", base, trained, **told)))
    assert embed is head
    torch.testing.assert_close(embed, weight + 1.5 * (second @ first).T)
    told["alpha_pattern"] = {"lm_head": 2}  # by which they are two after all
    embed, head = ends(load(base, write_adapter(tmp_path / "two", base, trained, **told)))
    torch.testing.assert_close(embed, weight + 1.5 * (second @ first).T)
    torch.testing.assert_close(head, weight + 0.5 * (second @ first).T)


def test_embeddings_are_trained_as_one_only_where_peft_knows_their_name(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "gpt2")
    weight, place = ends(own(base))[0].detach(), EMBEDDINGS["gpt2"]
    trained = embedding_pair(place)
    told = {"ensure_weight_tying": True, "target_modules": ["wte"]}
    embed, head = ends(load(base, write_adapter(tmp_path / "factors", base, trained, **told)))
    assert torch.equal(head, weight)
    assert not torch.equal(embed, weight)
    saved = {f"{place}.weight": weight + 1}
    told = {"ensure_weight_tying": True, "modules_to_save": ["wte"]}
    embed, head = ends(load(base, write_adapter(tmp_path / "whole", base, saved, **told)))
    assert torch.equal(head, weight)
    assert torch.equal(embed, weight + 1)


def test_rows_of_one_layer_are_not_those_of_another_that_shares_its_weight(
    tied: tuple[Path, str], tmp_path: Path
) -> None:
    base, place = tied
    weight = ends(own(base))[0].detach()
    rows, others = torch.randn(2, 32), torch.randn(3, 32)
    told: dict[str, Any] = {"trainable_token_indices": {place.rpartition(".")[2]: [7, 301], "lm_head": [9, 7, 11]}}
    both = write_adapter(tmp_path / "both", base, {f"{place}.{ROWS}": rows, f"lm_head.{ROWS}": others}, **told)
    embed, head = ends(load(base, both))
    assert torch.equal(embed, weight.index_copy(0, torch.tensor([7, 301]), rows))
    assert torch.equal(head, weight.index_copy(0, torch.tensor([9, 7, 11]), others))
    told = {"trainable_token_indices": {"lm_head": [9, 7, 11]}}
    embed, head = ends(load(base, write_adapter(tmp_path / "head", base, {f"lm_head.{ROWS}": others}, **told)))
    assert torch.equal(embed, weight)
    assert torch.equal(head, weight.index_copy(0, torch.tensor([9, 7, 11]), others))


def test_equal_rows_of_layers_that_share_their_weight_leave_it_shared(tied: tuple[Path, str], tmp_path: Path) -> None:
    """As PEFT saves them where tokens were added."""
    base, place = tied
    rows = torch.randn(2, 32)
    trained = {f"{place}.{ROWS}": rows, f"lm_head.{ROWS}": rows.clone()}
    embed, head = ends(load(base, write_adapter(tmp_path / "bot", base, trained, trainable_token_indices=[7, 301])))
    assert embed is head
    assert torch.equal(embed[[7, 301]], rows)


PARAMETERS = {
    "linear": ("llama", "model.layers.1.mlp.up_proj", (64, 32)),
    "square and transposed": ("gpt2", "transformer.h.1.attn.c_proj", (32, 32)),
    "transposed": ("gpt2", "transformer.h.1.attn.c_attn", (32, 96)),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_weights_that_were_trained_by_their_own_names_are_changed_as_they_lie(case: str, tmp_path: Path) -> None:
    """And patterns are of those names, not of their layers'."""
    name, layer, shape = PARAMETERS[case]
    base = write_checkpoint(tmp_path / "base", name)
    trained = pair(f"{layer}.lora_A.weight", f"{layer}.lora_B.weight", shape)
    first, second = trained.values()
    leaf = layer.rpartition(".")[2]
    folder = write_adapter(
        tmp_path / "bot", base, trained, target_parameters=[f"{leaf}.weight"],
        alpha_pattern={leaf: 99, f"{leaf}.weight": 10},
    )  # fmt: skip
    expected = own(base)
    with torch.no_grad():
        expected.get_parameter(f"{layer}.weight").add_(10 / 4 * second @ first)
    merged = load(base, folder).model
    torch.testing.assert_close(merged.get_parameter(f"{layer}.weight"), expected.get_parameter(f"{layer}.weight"))
    beside = with_adapters(load(base), read_named({"bot": str(folder)}, TRUST_NOTHING), TRUST_NOTHING)
    assert beside.adapters is not None
    ids = torch.tensor([[5, 9, 100, 31]])
    with torch.no_grad(), beside.adapters.applied([Span("bot", 0, 4)]):
        found = beside.model(input_ids=ids).logits
    torch.testing.assert_close(found, expected(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_embeddings_that_were_trained_by_the_name_of_their_weight(tied: tuple[Path, str], tmp_path: Path) -> None:
    base, place = tied
    weight = ends(own(base))[0].detach()
    trained = pair(f"{place}.lora_A.weight", f"{place}.lora_B.weight", (320, 32))
    first, second = trained.values()
    told = {"target_parameters": [f"{place}.weight"]}
    embed, head = ends(load(base, write_adapter(tmp_path / "bot", base, trained, **told)))
    torch.testing.assert_close(embed, weight + 1.5 * second @ first)
    assert torch.equal(head, weight)


@pytest.mark.parametrize(
    "config", [{"velora_config": {"num_groups": 4}}, {"init_lora_weights": "mica"}], ids=["velora", "mica"]
)
def test_ways_to_train_that_change_no_result(config: dict[str, Any], llama_folder: Path, tmp_path: Path) -> None:
    layer = "model.layers.1.self_attn.q_proj"
    trained = pair(f"{layer}.lora_A.weight", f"{layer}.lora_B.weight", (32, 32))
    first, second = trained.values()
    if "velora_config" in config:
        trained[f"{layer}.lora_velora_embed"] = torch.ones(8)
    merged = load(llama_folder, write_adapter(tmp_path, llama_folder, trained, **config)).model
    weight = own(llama_folder).get_parameter(f"{layer}.weight")
    torch.testing.assert_close(merged.get_parameter(f"{layer}.weight"), weight + 1.5 * second @ first)
