"""A model with a merged adapter, compared with one in which hooks add the adapter's products."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from services.engine.adapters.adapter import Adapter, place_of, read_adapter
from services.engine.loading import LoadedModel, load_language_model
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.model import narrow_weights
from tests.services.bench import real_bench
from tests.tiny.adapters import add_beside, factors, pair, write_adapter
from tests.tiny.language_models import write_checkpoint

CPU = torch.device("cpu")
PROMPTS = [[7 + (i * j) % 300 for i in range(1, length)] for j, length in ((3, 4), (5, 24), (11, 37))]
IDS = torch.tensor([PROMPTS[2]])


def adapter_of(folder: Path) -> Adapter:
    return read_adapter(str(folder), place_of(str(folder)), pickled=False)


def load(base: Path, folder: Path, **asked: Any) -> LoadedModel:
    wanted = {"dtype": "float32"} | asked
    return load_language_model(str(base), revision=None, device=CPU, adapter=adapter_of(folder), **wanted)


def own(base: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model(input_ids=IDS).logits


ALL = ("_proj", "c_attn", "c_fc")
CASES: dict[str, tuple[str, dict[str, Any], dict[str, float]]] = {
    "alpha over rank": ("llama", {}, {"": 6 / 4}),
    "by the root of the rank": ("llama", {"use_rslora": True}, {"": 6 / 2}),
    "patterns": (
        "llama",
        {"alpha_pattern": {"layers.1.self_attn.q_proj": 20, "mlp.*proj": 2}, "rank_pattern": {"ignored": 9}},
        {"layers.1.self_attn.q_proj": 5.0, "mlp.up_proj": 0.5, "mlp.down_proj": 0.5, "mlp.gate_proj": 0.5, "": 1.5},
    ),
    "weights that lie transposed": ("gpt2", {"fan_in_fan_out": True}, {"": 6 / 4}),
    "attention alone": ("mixtral", {}, {"": 6 / 4}),
}


@pytest.mark.parametrize("case", CASES)
async def test_tokens_of_the_engine_are_those_of_the_model_with_the_adapter_beside_it(
    case: str, tmp_path: Path
) -> None:
    name, config, scales = CASES[case]
    base = write_checkpoint(tmp_path / "base", name)
    beside, plain = own(base), own(base)
    folder = write_adapter(tmp_path / "adapter", base, factors(beside, *ALL), **config)
    add_beside(beside, folder, scales)
    loaded = load(base, folder)
    torch.testing.assert_close(logits(loaded.model), logits(beside), rtol=1e-4, atol=1e-4)
    assert (logits(plain) - logits(beside)).abs().max() > 0.1
    bench = real_bench(loaded, accelerated=True)
    try:
        for prompt in PROMPTS:
            found = await bench.run(prompt, max_new_tokens=10)
            asked = torch.tensor([prompt])
            expected = beside.generate(asked, max_new_tokens=10, do_sample=False)[0, len(prompt) :]
            assert found.ids == expected.tolist()
    finally:
        bench.engine.close()


def test_weights_are_rounded_once(llama_folder: Path, tmp_path: Path) -> None:
    trained = factors(own(llama_folder), "q_proj")
    folder = write_adapter(tmp_path, llama_folder, {name: each.bfloat16() for name, each in trained.items()})
    name = "model.layers.2.self_attn.q_proj"
    first, second = (trained[f"{name}.lora_{side}.weight"].bfloat16().float() for side in "AB")
    weight = own(llama_folder).get_parameter(f"{name}.weight").bfloat16().float()
    merged = load(llama_folder, folder, dtype="bfloat16").model.get_parameter(f"{name}.weight")
    assert torch.equal(merged, ((second @ first) * 1.5 + weight).bfloat16())


def test_it_is_merged_before_weights_become_narrow(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.engine.checkpoint.unsuitable", lambda _kind, _device: "")
    folder = write_adapter(tmp_path, llama_folder, factors(own(llama_folder), *ALL))
    wide = load(llama_folder, folder).model
    narrow_weights(wide, "int8", CPU)
    loaded = load(llama_folder, folder, quantization="int8")
    assert isinstance(loaded.model.model.layers[0].mlp.up_proj, NarrowLinear)
    assert torch.equal(logits(loaded.model), logits(wide))


def test_embeddings_leave_what_shared_them_as_it_was(tmp_path: Path) -> None:
    """As in training: of two layers with a tied weight, the adapter changes only the one that it names."""
    base = write_checkpoint(tmp_path / "base", "gemma3")
    place, own_model = "model.embed_tokens", own(base)
    weight = own_model.get_input_embeddings().weight
    assert own_model.get_output_embeddings().weight is weight
    trained = pair(f"{place}.lora_embedding_A", f"{place}.lora_embedding_B", (weight.shape[1], weight.shape[0]))
    merged = load(base, write_adapter(tmp_path / "adapter", base, trained)).model
    change = 1.5 * (trained[f"{place}.lora_embedding_B"] @ trained[f"{place}.lora_embedding_A"]).T
    torch.testing.assert_close(merged.get_input_embeddings().weight, weight + change)
    assert torch.equal(merged.get_output_embeddings().weight, weight)
    told = {"ensure_weight_tying": True, "target_modules": ["embed_tokens"]}
    tied = write_adapter(tmp_path / "tied", base, trained, **told)
    merged = load(base, tied).model
    assert merged.get_output_embeddings().weight is merged.get_input_embeddings().weight


@pytest.mark.parametrize("tokens", [[7, 301], {"embed_tokens": [7, 301]}], ids=["list", "by layer"])
def test_rows_of_tokens_are_replaced_wherever_their_weight_is_shared(tokens: object, tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "gemma3")
    weight = own(base).get_input_embeddings().weight.detach().clone()
    weight[[7, 301]] = rows = torch.randn(2, weight.shape[1])
    trained = {"model.embed_tokens.token_adapter.trainable_tokens_delta": rows}
    merged = load(base, write_adapter(tmp_path / "adapter", base, trained, trainable_token_indices=tokens)).model
    assert torch.equal(merged.get_input_embeddings().weight, weight)
    assert merged.get_output_embeddings().weight is merged.get_input_embeddings().weight


def test_rows_of_further_tokens_are_replaced_in_what_was_made_wider(llama_folder: Path, tmp_path: Path) -> None:
    """PEFT then also saves the resized embeddings before training, and those of a layer that shares them."""
    wide, rows = torch.randn(322, 32), torch.randn(2, 32)
    trained = {f"{layer}.token_adapter.base_layer.weight": wide for layer in ("model.embed_tokens", "lm_head")}
    trained |= {name.replace("base_layer.weight", "trainable_tokens_delta"): rows for name in trained}
    trained = {name: each.clone() for name, each in trained.items()}
    told = {"trainable_token_indices": {"embed_tokens": [320, 321]}}
    merged = load(llama_folder, write_adapter(tmp_path, llama_folder, trained, **told)).model
    expected = torch.cat((wide[:320], rows))
    assert torch.equal(merged.get_input_embeddings().weight, expected)
    assert torch.equal(merged.get_output_embeddings().weight, expected)


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss"])
def test_experts_are_merged_one_by_one(name: str, tmp_path: Path) -> None:
    """As `target_parameters` orders them: the wrapper of the first weight is inside of the last one's."""
    base = write_checkpoint(tmp_path / "base", name)
    module = "model.layers.1.mlp.experts"
    experts = own(base).get_submodule(module)
    count, trained, expected = 4, {}, {}
    for parameter, place in (("gate_up_proj", f"{module}.base_layer"), ("down_proj", module)):
        weight = experts.get_parameter(parameter)
        assert weight.shape[0] == count
        sizes = weight.shape[:0:-1] if experts.is_transposed else weight.shape[1:]
        trained |= pair(f"{place}.lora_A.weight", f"{place}.lora_B.weight", (sizes[0], sizes[1]), rank=3 * count)
        first = trained[f"{place}.lora_A.weight"].reshape(count, 3, -1)
        second = trained[f"{place}.lora_B.weight"].reshape(-1, 3, count)
        order = "e i o" if experts.is_transposed else "e o i"
        expected[parameter] = weight + 2.0 * torch.einsum(f"o r e, e r i -> {order}", second, first)
    folder = write_adapter(
        tmp_path / "adapter", base, trained, r=3, target_parameters=["experts.gate_up_proj", "mlp.experts.down_proj"]
    )
    merged = load(base, folder).model.get_submodule(module)
    for parameter, value in expected.items():
        torch.testing.assert_close(merged.get_parameter(parameter), value)


def test_names_of_older_releases_of_transformers_are_known(tmp_path: Path) -> None:
    """There each expert had its own layers, named as in the checkpoint's files."""
    base = write_checkpoint(tmp_path / "base", "mixtral")
    experts = own(base).get_submodule("model.layers.1.mlp.experts")
    width, hidden = experts.down_proj.shape[2], experts.down_proj.shape[1]
    old, trained, products = "model.layers.1.block_sparse_moe.experts.2", {}, {}
    for layer, shape in (("w1", (width, hidden)), ("w3", (width, hidden)), ("w2", (hidden, width))):
        both = pair(f"{old}.{layer}.lora_A.weight", f"{old}.{layer}.lora_B.weight", shape)
        products[layer] = 1.5 * both[f"{old}.{layer}.lora_B.weight"] @ both[f"{old}.{layer}.lora_A.weight"]
        trained |= both
    merged = load(base, write_adapter(tmp_path / "adapter", base, trained)).model
    found = merged.get_submodule("model.layers.1.mlp.experts")
    changes = {"gate_up_proj": torch.cat((products["w1"], products["w3"])), "down_proj": products["w2"]}
    for name, change in changes.items():
        expected = experts.get_parameter(name).detach().clone()
        expected[2] += change
        torch.testing.assert_close(found.get_parameter(name), expected)
