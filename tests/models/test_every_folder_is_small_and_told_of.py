"""Every embedded model is small, whole in one file of weights, and told of by a card."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from safetensors import safe_open

MODELS = Path(__file__).parents[2] / "models"
FOLDERS = sorted(path.parent for path in MODELS.glob("*/config.json"))
LARGEST_IN_ALL = 40_000_000
"""What models/README.md says that all may take."""
LARGEST = 6 << 20
LARGEST_HELD_OUT = 450 << 10

every_model = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


@every_model
def test_one_safetensors_file_of_half_precision_holds_all_weights(folder):
    """No other format of weights lies in the folder, and every learnt number takes two bytes."""
    kinds = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx"}
    assert [path.name for path in folder.rglob("*") if path.suffix in kinds] == ["model.safetensors"]
    with safe_open(folder / "model.safetensors", "pt") as weights:
        types = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
    assert types - {"I64"} in ({"BF16"}, {"F16"})


@every_model
def test_the_card_names_data_licence_training_quality_and_limits(folder):
    """A reader of the card learns where the model comes from and what it is worth."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    for named in ("## Data", "Apache-2.0", "## Training", "minutes", "seed", "## Quality", "## Limits"):
        assert named in card, named


@every_model
def test_a_folder_is_small(folder):
    """Weights and held-out items."""
    assert size(folder.rglob("*")) <= LARGEST
    assert size([*(folder / "held_out").rglob("*"), folder / "held_out.jsonl"]) <= LARGEST_HELD_OUT


def test_all_of_them_together_are_small():
    """As the page of all models says."""
    assert len(FOLDERS) > 20
    assert size(path for folder in FOLDERS for path in folder.rglob("*")) <= LARGEST_IN_ALL
