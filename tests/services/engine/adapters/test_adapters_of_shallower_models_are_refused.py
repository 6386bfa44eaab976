"""An adapter that was trained on fewer layers fits the model by its names, but is refused."""

from pathlib import Path
from typing import Any

import pytest

from services.engine.adapters.named import read_named, with_adapters
from services.engine.checkpoint import TRUST_NOTHING, ModelRefused
from services.engine.loading import LoadedModel
from tests.tiny.adapters import factors, load, write_adapter

LACKING = "model.layers.2.self_attn.q_proj"


def of_two_layers(model: LoadedModel, base: Path, folder: Path, **config: Any) -> Path:
    endings = [f"{number}.self_attn.{name}" for number in (0, 1) for name in ("q_proj", "v_proj")]
    return write_adapter(folder, base, factors(model.model, *endings), **config)


def beside(model: Path, adapter: Path) -> None:
    with_adapters(load(model), read_named({"bot": str(adapter)}, TRUST_NOTHING), TRUST_NOTHING)


@pytest.mark.parametrize("use", [load, beside])
@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["v_proj", "q_proj"]},
        {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [0, 1, 2]},
        {"target_modules": ["q_proj"], "layers_to_transform": [0, 1, 2], "layers_pattern": "layers"},
        {"target_modules": ["q_proj"], "exclude_modules": r".*layers\.2\.mlp.*"},
        {"target_modules": ["q_proj"], "exclude_modules": ["layers.2.self_attn.k_proj"]},
        {"target_modules": r".*layers\.[0-2]\..*\.(q|v)_proj"},
    ],
)
def test_layers_that_it_lacks_are_told(
    use: Any, config: dict[str, Any], llama_folder: Path, llama: LoadedModel, tmp_path: Path
) -> None:
    adapter = of_two_layers(llama, llama_folder, tmp_path / "bot", **config)
    with pytest.raises(ModelRefused, match=rf"changes other layers like {LACKING}.*It was made for "):
        use(llama_folder, adapter)


@pytest.mark.parametrize("use", [load, beside])
@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [0, 1]},
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": r".*layers\.2\..*"},
        {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [0, 1], "layers_pattern": ["layers"]},
        {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": 2, "layers_pattern": "blocks"},
        {
            "target_modules": ["q_proj", "v_proj"],
            "exclude_modules": ["2.self_attn.q_proj", "layers.2.self_attn.v_proj"],
        },
        {"target_modules": ["q_proj", "v_proj"], "modules_to_save": [r"layers\.2"]},
        {"target_modules": [f"layers.{number}.self_attn.{name}" for number in (0, 1) for name in ("q_proj", "v_proj")]},
        {"target_modules": r".*layers\.[01]\..*\.(q|v)_proj"},
        {},
    ],
)
def test_layers_that_were_left_out_by_choice(
    use: Any, config: dict[str, Any], llama_folder: Path, llama: LoadedModel, tmp_path: Path
) -> None:
    use(llama_folder, of_two_layers(llama, llama_folder, tmp_path / "bot", **config))
