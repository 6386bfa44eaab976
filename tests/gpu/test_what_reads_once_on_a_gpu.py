from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForImageClassification

from services.engine.batching.job import Item
from services.engine.checkpoint import Checkpoint
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.loading import load_text_encoder
from services.engine.encoders.runner import TextRunner
from services.engine.encoders.tokens import TextTokens
from services.engine.images.loading import load_vision_model
from services.engine.images.reader import ModelInputs
from services.engine.images.runner import ImageRunner
from tests.gpu.conftest import GPU
from tests.tiny.encoders import write_encoder
from tests.tiny.vision_models import write_vision_model

DEVICES = (torch.device("cpu"), GPU)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_vectors_of_texts_equal_those_of_the_cpu(name: str, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / name, name, AutoModel)
    lengths = (3, 9, 24)
    items = [Item(TextTokens(list(range(7, 7 + length)), [0] * length)) for length in lengths]

    def read(output: Any, _batch: Any, _items: Any) -> list[torch.Tensor]:
        return [row[:length].cpu() for row, length in zip(output[0], lengths, strict=True)]

    found: list[Any] = []
    for device in DEVICES:
        loaded = load_text_encoder(Checkpoint(str(folder), device, dtype="float32"), AutoModel)
        accelerate(loaded)
        found.append(TextRunner(loaded.model, device, loaded.pad_id, read).run(items))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_logits_of_images_equal_those_of_the_cpu(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "vit", "vit", AutoModelForImageClassification)
    found: list[Any] = []
    for device in DEVICES:
        loaded = load_vision_model(Checkpoint(str(folder), device, dtype="float32"), AutoModelForImageClassification)
        size = loaded.config.image_size
        generator = torch.Generator().manual_seed(0)
        items = [Item(ModelInputs({"pixel_values": torch.randn(3, size, size, generator=generator)})) for _ in range(3)]

        def compute(batch: dict[str, torch.Tensor], model: Any = loaded.model) -> dict[str, torch.Tensor]:
            return {"logits": model(**batch).logits}

        found.append([output["logits"] for output in ImageRunner(loaded, compute).run(items)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)
