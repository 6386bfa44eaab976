import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from services.engine.checkpoint import ModelRefused
from tests.tiny.adapters import WEIGHTS, change, factors, load, pair, write_adapter
from tests.tiny.language_models import write_checkpoint

LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    """An adapter of the tiny llama, which a test may break."""
    model = AutoModelForCausalLM.from_pretrained(llama_folder)
    return write_adapter(tmp_path / "bot", llama_folder, factors(model, "q_proj", "v_proj"))


DAMAGES: dict[str, tuple[dict[str, torch.Tensor], str]] = {
    "another model": (
        pair("h.0.q.lora_A.weight", "h.0.q.lora_B.weight", (32, 32)),
        r"changes h\.0\.q, which the model does not",
    ),
    "another size": (
        pair(f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight", (64, 32)),
        r"q_proj\.weight is 32×32 in the model, and it was trained for 64×32\. It was made for /",
    ),
    "another whole size": ({"lm_head.weight": torch.ones(7, 32)}, "is 320×32 in the model, and.* for 7×32"),
    "one factor": ({f"{LAYER}.lora_A.weight": torch.ones(4, 32)}, "holds but A of A and B: it is damaged"),
    "two ranks": (
        {f"{LAYER}.lora_A.weight": torch.ones(4, 32), f"{LAYER}.lora_B.weight": torch.ones(32, 5)},
        "ranks 4 and 5: it is damaged",
    ),
    "no matrices": (
        {f"{LAYER}.lora_A.weight": torch.ones(4), f"{LAYER}.lora_B.weight": torch.ones(4)},
        "q_proj are no matrices: it is damaged",
    ),
    "embeddings of another shape": (
        {"model.embed_tokens.weight": torch.ones(400)},
        "is 320×32 in the model, and it was trained for 400",
    ),
    "not finite": ({"model.norm.weight": torch.full((32,), math.nan)}, "with it model.norm.weight is not finite"),
    "rows without their tokens": (
        {"model.embed_tokens.token_adapter.trainable_tokens_delta": torch.ones(2, 32)},
        r"holds 2 rows of model\.embed_tokens\.weight, which has 320, for the tokens \[\]",
    ),
    "another rank than it says": (
        pair(f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight", (32, 32), rank=3),
        "factors of .*q_proj are of rank 3, and its configuration says 4: one is wrong",
    ),
    "a bias that the model lacks": (
        pair(f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight", (32, 32)) | {f"{LAYER}.lora_B.bias": torch.ones(32)},
        rf"has a bias for {LAYER} \(lora_bias\), which has none in the model",
    ),
    "magnitudes": ({f"{LAYER}.lora_magnitude_vector": torch.ones(4)}, "no part of a plain LoRA"),
    "nothing": ({}, "holds no weights"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_does_not_fit_is_refused_with_what_is_wrong(name: str, llama_folder: Path, tmp_path: Path) -> None:
    tensors, told = DAMAGES[name]
    write_adapter(tmp_path, llama_folder, tensors)
    with pytest.raises(ModelRefused, match=f"^The adapter {tmp_path} cannot be merged into {llama_folder}: .*{told}"):
        load(llama_folder, tmp_path)


def test_files_that_are_missing_or_damaged_are_refused(llama_folder: Path, folder: Path, tmp_path: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-9])
    with pytest.raises(ModelRefused, match=r"cannot be merged into .*MetadataIncompleteBuffer|file not fully covered"):
        load(llama_folder, folder)
    (folder / WEIGHTS).unlink()
    tensors = {"base_model.model.model.norm.weight": torch.full((32,), 3.0)}
    torch.save(tensors, folder / "adapter_model.bin")
    with pytest.raises(ModelRefused, match=r"has no adapter_model\.safetensors\. With --allow-pickle-weights"):
        load(llama_folder, folder)
    loaded = load(llama_folder, folder, allow_pickle_weights=True)
    assert loaded.model.get_parameter("model.norm.weight").tolist() == [3.0] * 32
    with pytest.raises(ModelRefused, match=r"has no adapter_config\.json"):
        load(llama_folder, tmp_path)
    with pytest.raises(ModelRefused, match=r"The adapter /no/such/folder cannot be loaded: There is no such folder"):
        load(llama_folder, "/no/such/folder")


CONFIGS: dict[str, tuple[str, str]] = {
    "cut off": ('{"peft_type": "LO', "its adapter_config.json is no JSON"),
    "a list": ("[]", "its adapter_config.json holds no object"),
    "no alpha": ('{"peft_type": "LORA"}', "its lora_alpha is None, and should be a number"),
    "alpha that is no number": ('{"peft_type": "LORA", "lora_alpha": NaN}', "its lora_alpha is nan"),
    "a pattern that is none": (
        '{"peft_type": "LORA", "lora_alpha": 6, "alpha_pattern": {"(": 1}}',
        r"\( in its alpha_pattern is no regular expression",
    ),
    "a rank pattern that is none": (
        '{"peft_type": "LORA", "lora_alpha": 6, "rank_pattern": {"(": 1}}',
        r"\( in its rank_pattern is no regular expression",
    ),
    "targets that are no pattern": (
        '{"peft_type": "LORA", "lora_alpha": 6, "target_modules": "("}',
        r"\( in its target_modules is no regular expression",
    ),
    "the rank": ('{"peft_type": "LORA", "lora_alpha": 6, "r": "8"}', "its r is 8, and should be a number"),
    "the alpha of a pattern": (
        '{"peft_type": "LORA", "lora_alpha": 6, "alpha_pattern": {"q": "8"}}',
        "its alpha_pattern of q is 8, and should be a number",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_that_is_damaged_is_refused(name: str, llama_folder: Path, folder: Path) -> None:
    config, told = CONFIGS[name]
    (folder / "adapter_config.json").write_text(config)
    with pytest.raises(ModelRefused, match=rf"^The adapter {folder} cannot be loaded: {told}"):
        load(llama_folder, folder)


def test_weights_of_a_classifier_that_are_cut_off_are_the_adapters(llama_folder: Path, folder: Path) -> None:
    change(folder, task_type="SEQ_CLS")
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:50])
    told = rf"^The adapter {folder} cannot be loaded: its adapter_model\.safetensors is damaged: .*\. Fetch it again\.$"
    with pytest.raises(ModelRefused, match=told):
        load(llama_folder, folder)


@pytest.mark.parametrize("held", [{"a": Path("/")}, [1], {"a": 1}, None], ids=["code", "list", "number", "nothing"])
def test_a_pickle_that_holds_other_things_is_refused(held: object, llama_folder: Path, folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    pickled = folder / "adapter_model.bin"
    torch.save(held, pickled) if held is not None else pickled.touch()
    with pytest.raises(ModelRefused, match=rf"^The adapter {folder} cannot be loaded: its adapter_model\.bin "):
        load(llama_folder, folder, allow_pickle_weights=True)


def test_what_is_said_of_files_that_are_missing_is_said_once(llama_folder: Path, folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelRefused, match=r"converting it is safer\.$"):
        load(llama_folder, folder)


def test_an_adapter_whose_model_is_an_adapter_is_refused(folder: Path) -> None:
    change(folder, base_model_name_or_path=str(folder))
    with pytest.raises(ModelRefused, match=f"is an adapter, and so is {folder}, which it names as its model"):
        load(folder)


def test_embeddings_are_wider_by_rows_alone(llama_folder: Path, folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS) | {"base_model.model.model.embed_tokens.weight": torch.ones(0, 32)}
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ModelRefused, match="is 320×32 in the model, and it was trained for 0×32"):
        load(llama_folder, folder)


@pytest.mark.parametrize("given", [True, False])
def test_peft_is_not_let_load_an_adapter_beside_a_model(
    given: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(folder, "llama")
    monkeypatch.setattr("services.engine.checkpoint.is_peft_available", lambda: True)
    with pytest.raises(ModelRefused, match=r"peft is installed, by which .* Uninstall peft, or take"):
        load(folder, folder if given else None)
