import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageClassification

from sensorium.v1 import models_pb2 as pb
from services.engine.adapters.adapter import AdapterPlace, place_of
from services.engine.adapters.named import read_named, with_adapters
from services.engine.checkpoint import TRUST_NOTHING, Checkpoint, ModelRefused, read_config, read_tokenizer
from services.engine.encoders.loading import load_text_encoder
from services.engine.images.loading import load_vision_model
from services.engine.loading import LoadedModel
from services.process import checkpoint_of, describe_settings, served_name
from services.text.task import TextTask, choose_task
from services.text.understanding.encoder_model import AUTO_CLASSES
from tests.tiny.adapters import WEIGHTS, change, factors, load, settings, write_adapter
from tests.tiny.language_models import tokenizer, write_checkpoint
from tests.tiny.vision_models import write_vision_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    """An adapter of the tiny llama, which a test may break."""
    model = AutoModelForCausalLM.from_pretrained(llama_folder)
    return write_adapter(tmp_path / "bot", llama_folder, factors(model, "q_proj", "v_proj"))


def weight_of(loaded: LoadedModel) -> torch.Tensor:
    return loaded.model.get_parameter(f"{LAYER}.weight")


def test_a_revision_of_a_folder_is_told_to_have_no_effect(llama_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint_of(settings(model=str(llama_folder), revision=COMMIT))
    assert f"--revision {COMMIT} has no effect: {llama_folder} is a folder" in caplog.text


def test_a_folder_that_is_an_adapter_tells_its_model(llama_folder: Path, llama: LoadedModel, folder: Path) -> None:
    alone, given = load(folder), load(llama_folder, folder)
    assert torch.equal(weight_of(alone), weight_of(given))
    assert not torch.equal(weight_of(alone), weight_of(llama))
    own, _, adapters = alone.revision.partition("+")
    assert (own, alone.revision) == (llama.revision, given.revision)
    assert adapters.startswith("sha256-")
    change(folder, lora_alpha=7)
    assert load(folder).revision not in (given.revision, llama.revision)


def test_what_is_served_is_called_by_its_adapter(llama_folder: Path, folder: Path) -> None:
    for asked in (settings(folder), settings(llama_folder, folder)):
        info = pb.ModelInfo()
        info.identity.revision = f"{COMMIT}+sha256-0"
        describe_settings(info, asked)
        assert [(each.name, each.revision) for each in info.adapters] == [("bot", "sha256-0")]
    info = pb.ModelInfo()
    info.identity.revision = COMMIT
    describe_settings(info, settings(llama_folder))
    assert not info.adapters
    assert served_name("acme/bot/vision-lora@v2") == "acme/bot/vision-lora"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("acme/bot", AdapterPlace("acme/bot")),
        ("acme/bot@v2", AdapterPlace("acme/bot", revision="v2")),
        ("acme/bot/vision-lora@v2", AdapterPlace("acme/bot", "vision-lora", "v2")),
        ("/no/such/folder", AdapterPlace("/no/such/folder")),
        ("./no/such/folder", AdapterPlace("./no/such/folder")),
    ],
)
def test_an_id_may_tell_a_folder_and_a_revision(text: str, place: AdapterPlace) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("inner", ["", "vision-lora"])
def test_one_of_the_hub_is_read_from_its_cache_at_its_commit(
    inner: str, llama_folder: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "hub/models--acme--bot/snapshots" / COMMIT / inner)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    told = "/".join(filter(None, ("acme/bot", inner)))
    loaded = load(llama_folder, f"{told}@{COMMIT}")
    assert torch.equal(weight_of(loaded), weight_of(load(folder)))
    # Two adapters in folders of one commit have different revisions.
    assert loaded.revision.endswith("+" + "/".join(filter(None, (COMMIT, inner))))
    if not inner:  # `revision` belongs to the adapter that --model names
        assert load("acme/bot", revision=COMMIT).revision == loaded.revision
    with pytest.raises(ModelRefused, match=r"it has no .*adapter_config\.json at v9,"):
        load(llama_folder, f"{told}@v9")


def test_a_classifier_has_the_head_and_the_labels_of_its_adapter(llama_folder: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama_folder)
    head = torch.randn(5, 32)
    trained = factors(model, "q_proj") | {"score.weight": head}
    write_adapter(tmp_path, llama_folder, trained, task_type="SEQ_CLS", modules_to_save=["classifier", "score"])
    checkpoint = checkpoint_of(settings(tmp_path))
    assert choose_task(checkpoint, "auto") is TextTask.CLASSIFY
    loaded = load_text_encoder(checkpoint, AUTO_CLASSES[TextTask.CLASSIFY])
    assert torch.equal(loaded.model.get_parameter("score.weight"), head)
    assert loaded.labels == [f"LABEL_{i}" for i in range(5)]
    trained.pop("score.weight")
    write_adapter(tmp_path, llama_folder, trained, task_type="SEQ_CLS")
    with pytest.raises(ModelRefused, match=r"lacks 1 of the model's weights, such as score\.weight"):
        load_text_encoder(checkpoint_of(settings(tmp_path)), AUTO_CLASSES[TextTask.CLASSIFY])


def test_of_a_model_of_images_convolutions_biases_and_another_head_are_merged(tmp_path: Path) -> None:
    base = write_vision_model(tmp_path / "base", "vit", AutoModelForImageClassification, num_labels=3)
    place, biased = "vit.embeddings.patch_embeddings.projection", "vit.layers.0.attention.q_proj"
    plain = AutoModelForImageClassification.from_pretrained(base)
    kernel, bias = plain.get_parameter(f"{place}.weight"), plain.get_parameter(f"{biased}.bias")
    first, second = torch.randn(4, *kernel.shape[1:]), torch.randn(kernel.shape[0], 4, 1, 1)
    trained = factors(plain, "q_proj") | {f"{place}.lora_A.weight": first, f"{place}.lora_B.weight": second}
    trained |= {f"{biased}.lora_B.bias": torch.ones_like(bias), f"{place}.bias": torch.full((kernel.shape[0],), 9.0)}
    head = torch.randn(5, kernel.shape[0])
    trained |= {"classifier.weight": head, "classifier.bias": torch.zeros(5)}
    write_adapter(tmp_path / "bot", base, trained, modules_to_save=["classifier"], bias="all", lora_bias=True)
    checkpoint = checkpoint_of(settings(base, tmp_path / "bot"))
    loaded = load_vision_model(checkpoint, AutoModelForImageClassification)
    found = dict(loaded.model.named_parameters())
    change = torch.einsum("o r x y, r i h w -> o i h w", second, first)
    torch.testing.assert_close(found[f"{place}.weight"], kernel + 1.5 * change)
    torch.testing.assert_close(found[f"{place}.bias"], trained[f"{place}.bias"])
    torch.testing.assert_close(found[f"{biased}.bias"], bias + 1.5)
    assert torch.equal(found["classifier.weight"], head)
    assert len(loaded.labels) == 5


def test_tokens_that_were_added_come_with_its_tokenizer(llama_folder: Path, folder: Path) -> None:
    more = type(tokenizer())(tokenizer_object=tokenizer().backend_tokenizer, eos_token="<end>")
    more.add_tokens(["<tool>", "</tool>"])
    more.chat_template = "mine"
    more.save_pretrained(folder)
    tensors = load_file(folder / WEIGHTS)
    wide = torch.randn(len(more), 32)
    for name in ("model.embed_tokens", "lm_head"):
        tensors |= {f"base_model.model.{name}.{kind}weight": wide for kind in ("", "modules_to_save.")}
        tensors[f"base_model.model.{name}.original_module.weight"] = wide[:-2].clone()
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / WEIGHTS)
    loaded = load(llama_folder, folder)
    assert loaded.tokenizer.encode("<tool>") == [len(more) - 2]
    assert loaded.tokenizer.chat_template == "mine"
    assert loaded.vocabulary_size == loaded.source_vocabulary_size == len(more) == 322
    assert torch.equal(loaded.model.get_input_embeddings().weight, wide)  # type: ignore[union-attr]
    plain = checkpoint_of(settings(llama_folder))
    assert len(read_tokenizer(plain)) == 320


MERGE = "merge_and_unload"
BREAKS: dict[str, tuple[dict[str, object], str]] = {
    "IA3": ({"peft_type": "IA3"}, f"of the kind IA3; LORA alone is merged here.*{MERGE}"),
    "DoRA": ({"use_dora": True}, rf"by DoRA \(use_dora\).*{MERGE}"),
    "activated": ({"alora_invocation_tokens": [1, 2]}, "Activated LoRA .* PEFT cannot merge it"),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa.*path_initial_model_for_weight_conversion"),
    "loftq": ({"init_lora_weights": "loftq"}, f"init_lora_weights=loftq, which changes the model's own.*{MERGE}"),
    "prompt": ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING; .* PEFT cannot merge it into weights either"),
    "a later kind": ({"use_more": True}, f"sets use_more, which is not known here.*{MERGE}"),
    "a later kind with settings": ({"more_config": {"a": 1}}, f"sets more_config, which is not known.*{MERGE}"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_other_kinds_are_refused_by_name(name: str, llama_folder: Path, folder: Path) -> None:
    config, told = BREAKS[name]
    change(folder, **config)
    with pytest.raises(ModelRefused, match=rf"^The adapter .*bot cannot be loaded: .*{told}"):
        load(llama_folder, folder)


def test_an_adapter_with_a_name_of_its_own_lies_deeper(llama_folder: Path, folder: Path, tmp_path: Path) -> None:
    """PEFT saves one that is not called `default` in a folder of its name."""
    inner = folder.rename(tmp_path / "mine")
    with pytest.raises(ModelRefused, match=rf"has no adapter_config\.json, .*Give one of those within it: {inner}\.$"):
        load(llama_folder, tmp_path)
    assert load(llama_folder, inner)


def test_a_model_other_than_what_it_names_is_told_of(
    llama_folder: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(folder, base_model_name_or_path=f"/home/jo/{llama_folder.name}")
    load(llama_folder, folder)
    assert "was made for" not in caplog.text
    change(folder, base_model_name_or_path="acme/another")
    told = f"bot was made for acme/another, as it says, and is used with {llama_folder}: its answers are wrong if"
    load(llama_folder, folder)
    assert told in caplog.text
    caplog.clear()
    with_adapters(load(llama_folder), read_named({"bot": str(folder)}, TRUST_NOTHING), TRUST_NOTHING)
    assert told in caplog.text


def test_a_model_that_an_adapter_names_in_vain_is_asked_for(llama_folder: Path, folder: Path) -> None:
    change(folder, base_model_name_or_path="/home/jo/llama")
    with pytest.raises(
        ModelRefused, match=f"/home/jo/llama, which .* not here. Give the model by .* --adapter {folder}"
    ):
        load(folder)
    assert load(llama_folder, folder)
    with pytest.raises(ModelRefused, match="is itself an adapter"):
        load(folder, folder)


def test_weights_that_are_rounded_while_they_are_read_are_refused(
    llama_folder: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelRefused, match="--quantization bitsandbytes-nf4 rounds weights while they are read"):
        load(llama_folder, folder, quantization="bitsandbytes-nf4")
    checkpoint = checkpoint_of(settings(llama_folder, folder, quantization="int8"))
    divided = Checkpoint(str(llama_folder), checkpoint.device, None, "auto", "int8", rank_count=2)
    with pytest.raises(ModelRefused, match="int8 with --tensor-parallel 2 rounds"):
        read_config(Checkpoint(**{**vars(divided), "adapter": checkpoint.adapter}))
    base = Path(shutil.copytree(llama_folder, tmp_path / "rounded"))
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelRefused, match=r"come rounded, by bitsandbytes\. Give the original checkpoint by --model"):
        load(base, folder)


def test_what_it_sets_that_is_not_known_is_told_of(
    llama_folder: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(folder, more=3, use_less=False, less_config=None, lora_dropout=0.1)
    with caplog.at_level("INFO"):
        load(llama_folder, folder, trust_remote_code=True)
    assert "adapter_config.json sets what is not known here, and not followed: more\n" in caplog.text
    assert f"Code that comes with {llama_folder} and {folder} may be run" in caplog.text
    assert f"the adapter {folder} was merged into {llama_folder}" in caplog.text


def test_an_adapter_beside_a_model_is_told_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_checkpoint(folder, "llama")
    loaded = load(folder)
    assert "+" not in loaded.revision
    assert f"is not merged; --adapter {folder} does" in caplog.text
    assert load(folder, folder).revision.startswith(f"{loaded.revision}+")
