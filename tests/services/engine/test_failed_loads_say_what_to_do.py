"""What an operator is told of a checkpoint that could not be loaded."""

import json
import re
import shutil
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled

from services.engine.checkpoint import ModelRefused, refusals
from services.engine.loading import LoadedModel, load_language_model
from tests.services.bench import build


def load(source: Path | str) -> LoadedModel:
    return load_language_model(str(source), revision=None, device=torch.device("cpu"), dtype="auto")


@pytest.fixture
def folder(tmp_path: Path, llama_folder: Path) -> Path:
    """A copy of the tiny llama that a test may break."""
    return Path(shutil.copytree(llama_folder, tmp_path / "model"))


def test_a_missing_folder_is_refused() -> None:
    with pytest.raises(ModelRefused, match=r"/no/such/folder.*no such folder"):
        load("/no/such/folder")


def test_weights_that_may_not_be_read_are_not_said_to_be_missing(folder: Path) -> None:
    """Nor is it advised to unpickle others. What root may not read either is a link that leads nowhere."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "nowhere")
    with pytest.raises(ModelRefused, match=r"model\.safetensors cannot be read by user \d+\.$"):
        load(folder)


def test_a_file_that_nothing_asks_for_is_not_blamed_alone(folder: Path) -> None:
    (folder / "lost").symlink_to(folder / "nowhere")
    configuration = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(configuration | {"model_type": "unheard-of"}))
    with pytest.raises(ModelRefused, match="unheard-of"):
        load(folder)


def test_a_folder_of_other_folders_is_not_blamed_for_what_is_in_these(folder: Path) -> None:
    (folder / "lost").symlink_to(folder / "nowhere")
    with pytest.raises(ModelRefused, match=r"It has no config\.json; model in it has one: give that\.$"):
        load(folder.parent)


def _unreached(*_: object, **__: object) -> NoReturn:
    """Fails at once, where the hub's client tries again for half a minute; it treats both errors alike."""
    raise OfflineModeIsEnabled


def test_nor_are_those_of_the_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.engine.failed_load.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.utils._http.http_backoff", _unreached)
    for offline, nowhere in ((False, "and on the hub, or in"), (True, "and no such model in")):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        with pytest.raises(ModelRefused, match=re.escape(f"There is no such folder, {nowhere} {tmp_path}")):
            load("acme/chat")
    kept = tmp_path / "models--acme--chat/snapshots/main"
    shutil.copytree(folder, kept)
    (kept / "model.safetensors").unlink()
    (kept / "model.safetensors").symlink_to("../blobs/gone")
    with pytest.raises(ModelRefused, match=r"snapshots/main/model\.safetensors cannot be read by user \d+\.$"):
        load("acme/chat")


def test_weights_that_are_cut_off_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelRefused, match="damaged, or was not copied whole"):
        load(folder)


def test_weights_that_git_lfs_has_not_fetched_are_refused_with_its_command(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ModelRefused, match=r"model\.safetensors is not the file.* `git lfs pull`"):
        load(folder)


def test_weights_that_are_not_all_there_are_refused_with_what_is_missing(folder: Path) -> None:
    """Nor is it advised to unpickle others where there are none."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    part = whole.rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelRefused, match=r"It has model-00001-of-00002\.safetensors, but neither .*index\.json"):
        load(folder)
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}))
    with pytest.raises(ModelRefused, match=r"model-00002-of-00002\.safetensors. It has a part of its weights only"):
        load(folder)
    index.unlink()
    part.unlink()
    with pytest.raises(ModelRefused, match=r"It has no weights: fetch model\.safetensors too"):
        load(folder)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(ModelRefused, match="--allow-pickle-weights"):
        load(folder)


def test_a_file_that_is_no_json_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelRefused, match=r"tokenizer\.json is no JSON \(Expecting"):
        load(folder)


def test_a_folder_of_trainings_checkpoints_is_refused_with_their_names(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"no config\.json; model in it has one"):
        load(tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(ModelRefused, match=r"no config\.json: .*save_pretrained"):
        load(folder)


def test_a_model_saved_without_its_tokenizer_is_refused_with_what_to_do(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelRefused, match=r"no files of a tokenizer .* save_pretrained writes them\.$"):
        load(folder)


@pytest.mark.parametrize(("error", "said"), [(KeyError("rope_theta"), "KeyError: 'rope_theta'"), (TypeError("x"), "x")])
def test_what_code_was_not_written_for_is_told_with_its_kind(error: Exception, said: str, folder: Path) -> None:
    with pytest.raises(ModelRefused, match=rf"{said}\. A file of it .* transformers than \d"), refusals(str(folder)):
        raise error


def test_a_file_that_a_forward_cannot_read_is_a_refusal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's own code may read files, and a compiler may be missing."""

    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "cc")

    loaded = load(folder)
    monkeypatch.setattr(loaded.model, "forward", fail)
    with pytest.raises(ModelRefused, match="No such file or directory: 'cc'"):
        build(loaded)
