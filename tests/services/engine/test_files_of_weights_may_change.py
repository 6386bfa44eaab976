"""Whoever writes over the files of a model that is served, or cuts them off, changes nothing of it."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from services.engine.file_weights import copy_from_files
from tests.services.bench import build
from tests.tiny.adapters import load
from tests.tiny.language_models import write_checkpoint

IDS = torch.arange(3, 40).unsqueeze(0)


@pytest.mark.parametrize("built", [False, True], ids=["loaded", "built"])
@pytest.mark.parametrize("dtype", ["auto", "float16"])
def test_a_file_that_is_overwritten_and_cut_off(built: bool, dtype: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "llama")
    shutil.copytree(folder, tmp_path / "kept")
    loaded, kept = load(folder, dtype=dtype), load(tmp_path / "kept", dtype=dtype)
    if built:
        build(loaded)
        build(kept)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.write(bytes(weights.stat().st_size))  # who reads the file still computes something else
    with torch.inference_mode():
        expected = kept.model.get_input_embeddings()(IDS) if built else kept.model(input_ids=IDS).logits

        def found() -> torch.Tensor:
            return loaded.model.get_input_embeddings()(IDS) if built else loaded.model(input_ids=IDS).logits

        assert torch.equal(found(), expected)
        with weights.open("r+b") as file:
            file.truncate(0)  # and is ended by the system now
        assert torch.equal(found(), expected)


def test_what_torch_has_in_memory_of_its_own_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(bytes(4096))
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(torch.from_file(str(path), size=16).view(4, 4))
    own, mapped = (layer.weight.data_ptr() for layer in model)
    copy_from_files(model)
    assert model[0].weight.data_ptr() == own
    assert model[1].weight.data_ptr() != mapped
