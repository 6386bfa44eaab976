import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    LlamaConfig,
    PretrainedConfig,
    ViTConfig,
)

from services.engine.acceleration.replacement import accelerate
from services.engine.checkpoint import ModelRefused, Trust
from services.engine.generation.requests.request import EarlyStopping
from services.engine.generation.running.rotary import rope_types
from services.engine.loading import LoadedModel, load_language_model
from tests.services.bench import build
from tests.tiny.language_models import END_ID, tokenizer, write_checkpoint

CPU = torch.device("cpu")
BERT = BertConfig(vocab_size=320, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)


def load(source: Path | str, dtype: str = "auto", **trust: bool) -> LoadedModel:
    return load_language_model(str(source), revision=None, device=CPU, dtype=dtype, trust=Trust(**trust))


def write(folder: Path, config: PretrainedConfig, kind: type = AutoModelForCausalLM) -> Path:
    kind.from_config(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, llama_folder: Path) -> Path:
    """A copy of the tiny llama that a test may break."""
    return Path(shutil.copytree(llama_folder, tmp_path / "model"))


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_weights_that_are_damaged_are_said_to_be(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelRefused, match=r"no number .* damaged"):
        build(load(folder))


def test_so_are_those_of_what_reads_once() -> None:
    model = AutoModel.from_config(BERT).eval()
    model.encoder.layer[0].output.dense.weight.data.fill_(float("nan"))
    loaded: Any = SimpleNamespace(model=model, device=CPU)
    with pytest.raises(ModelRefused, match=r"BertModel .* no number"):
        accelerate(loaded, lambda: [model(torch.tensor([[1, 2]])).last_hidden_state])


def test_a_model_that_generates_no_text_is_refused_by_its_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="vit checkpoint"):
        load(write(tmp_path, ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2), AutoModel))


def test_an_encoder_is_refused_because_it_looks_ahead(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, BERT, AutoModelForMaskedLM))
    with pytest.raises(ModelRefused, match="looks ahead"):
        build(loaded)


def test_a_checkpoint_without_all_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"lacks .* cls\.predictions"):
        load(write(tmp_path, BERT, AutoModel))


def test_frequencies_that_differ_by_layer_are_looked_at_too() -> None:
    config = LlamaConfig()
    config.rope_parameters = {
        "full_attention": {"rope_type": "dynamic", "factor": 2.0},
        "sliding_attention": {"rope_type": "default"},
    }
    assert rope_types(config) == {"dynamic", "default"}


def test_pickled_weights_are_read_only_if_the_operator_says_so(
    folder: Path, llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelRefused, match="--allow-pickle-weights"):
        load(folder)
    loaded = load(folder, pickled_weights=True)
    assert "unpickled" in caplog.text
    assert loaded.revision.startswith("sha256-")
    assert loaded.revision != load(llama_folder).revision
    own = dict(load(llama_folder).model.named_parameters())
    assert all(torch.equal(own[name], parameter) for name, parameter in loaded.model.named_parameters())


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    change_config(folder, hidden_size=64)
    with pytest.raises(ModelRefused):
        load(folder)


def test_a_checkpoints_own_code_is_never_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    mapping = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    change_config(folder, auto_map=mapping)
    load(folder)  # a known architecture is run by the library's code
    change_config(folder, auto_map=mapping, model_type="own")
    with pytest.raises(ModelRefused, match="--trust-remote-code"):
        load(folder)
    assert not trace.exists()


def test_a_checkpoints_own_code_is_run_if_the_operator_says_so(
    folder: Path, llama: LoadedModel, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    (folder / "own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class Config(LlamaConfig):\n    model_type = 'own'\n"
        "class Model(LlamaForCausalLM):\n    config_class = Config\n"
    )
    change_config(folder, auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}, model_type="own")
    loaded = load(folder, remote_code=True)
    assert "Code that comes with" in caplog.text
    assert loaded.architecture == "Model"
    assert loaded.context_tokens == llama.context_tokens
    assert build(loaded).serial is False


def test_the_revision_is_stable_and_changes_with_weights_and_configuration(folder: Path, llama: LoadedModel) -> None:
    assert load(folder).revision == llama.revision
    assert llama.revision.startswith("sha256-")
    change_config(folder, rms_norm_eps=1e-4)
    changed = load(folder).revision
    assert changed != llama.revision
    write_checkpoint(folder, "llama", seed=1)
    assert load(folder).revision not in {changed, llama.revision}


def test_what_was_loaded_is_described(llama: LoadedModel) -> None:
    assert (llama.architecture, llama.context_tokens, llama.vocabulary_size) == ("LlamaForCausalLM", 256, 320)
    assert llama.model.dtype == torch.float32
    assert not llama.model.training
    assert llama.defaults.end_token_ids == {END_ID}
    assert llama.defaults.do_sample is False


def test_the_models_generation_configuration_becomes_its_defaults(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_checkpoint(
        tmp_path,
        "llama",
        do_sample=True,
        temperature=0.6,
        top_k=20,
        top_p=0.9,
        max_new_tokens=33,
        typical_p=0.5,
        no_repeat_ngram_size=4,
        bad_words_ids=[[7, 8], [9]],
        num_beams=4,
        num_return_sequences=2,
        length_penalty=0.5,
        early_stopping="never",
        epsilon_cutoff=0.5,
    )
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [2, 5]}))
    defaults = load(folder).defaults
    assert (defaults.do_sample, defaults.temperature, defaults.top_k, defaults.top_p) == (True, 0.6, 20, 0.9)
    assert (defaults.max_new_tokens, defaults.min_p) == (33, None)
    assert defaults.end_token_ids == {2, 5}
    assert (defaults.typical_p, defaults.no_repeat_ngram_size, defaults.bad_words) == (0.5, 4, ((7, 8), (9,)))
    assert (defaults.beam_count, defaults.candidate_count, defaults.length_penalty) == (4, 2, 0.5)
    assert defaults.early_stopping is EarlyStopping.NEVER
    assert "epsilon_cutoff" in caplog.text
    assert "num_beams" not in caplog.text
    assert "typical_p" not in caplog.text
    assert "top_k" not in caplog.text


@pytest.mark.parametrize(("said", "meant"), [(True, EarlyStopping.FIRST), (False, EarlyStopping.LIKELY), (None, None)])
def test_when_a_search_stops_is_read_as_generate_reads_it(
    tmp_path: Path, said: bool | None, meant: EarlyStopping | None
) -> None:
    folder = write_checkpoint(tmp_path, "llama", num_beams=2)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"early_stopping": said}))
    assert load(folder).defaults.early_stopping is meant


def test_a_model_that_searches_with_more_beams_than_there_are_rows_is_refused(tmp_path: Path) -> None:
    loaded = load(write_checkpoint(tmp_path, "llama", num_beams=4))
    assert build(loaded, max_sequences=4)
    with pytest.raises(ModelRefused, match="4 sequences"):
        build(loaded, max_sequences=3)


def test_weights_can_be_computed_in_bfloat16(llama_folder: Path) -> None:
    loaded = load(llama_folder, dtype="bfloat16")
    assert loaded.model.dtype == torch.bfloat16
    assert build(loaded).context_tokens == 256


def test_a_model_of_the_hub_is_read_from_its_cache_at_its_commit(
    llama_folder: Path, llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(llama_folder, tmp_path / "models--acme--llama" / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    loaded = load_language_model("acme/llama", revision=commit, device=CPU, dtype="auto")
    assert loaded.revision == commit
    assert loaded.context_tokens == llama.context_tokens
    with pytest.raises(ModelRefused):
        load_language_model("acme/llama", revision=commit[::-1], device=CPU, dtype="auto")
