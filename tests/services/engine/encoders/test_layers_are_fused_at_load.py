"""Models of texts and images really run on the library's layers once they are loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForImageClassification

from services.engine.checkpoint import Checkpoint
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.loading import load_text_encoder
from services.engine.fusion.encoder import FusedEncoderLayer
from services.engine.native.library import load_library
from tests.e2e.stack import vision_stack
from tests.tiny.encoders import write_encoder
from tests.tiny.vision_models import write_vision_model

LIBRARY = load_library()
pays = LIBRARY is not None and all(LIBRARY.linear_pays.values())
pytestmark = pytest.mark.skipif(not pays, reason="torch's linear layers are faster on this machine")


def fused(model: Any) -> int:
    return sum(isinstance(module.forward, FusedEncoderLayer) for module in model.modules())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "electra"])
def test_layers_of_texts_are_fused(tmp_path: Path, name: str, dtype: str) -> None:
    folder = write_encoder(tmp_path / name, name, AutoModel)
    loaded = load_text_encoder(Checkpoint(str(folder), torch.device("cpu"), dtype=dtype), AutoModel)
    accelerate(loaded)
    assert fused(loaded.model) == 2


async def test_layers_of_images_are_fused(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "vit", "vit", AutoModelForImageClassification)
    async with vision_stack(folder) as stack:
        assert fused(stack.service.service._loaded.loaded.model) == 2
