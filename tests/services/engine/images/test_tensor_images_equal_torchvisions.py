"""Image processors give the same results as with torchvision 0.28, compared by two checksums per image."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

from services.engine.checkpoint import Checkpoint
from services.engine.images.processor import read_image_processor, show_image_processors

SUMS = {
    "Llama4ImageProcessor": ("pixel_values", [1, 3, 336, 336], -0.3423529, -0.188921),
    "Lfm2VlImageProcessor": ("pixel_values", [1, 1024, 768], -0.0027849, -0.039455),
    "Phi4MultimodalImageProcessor": ("image_pixel_values", [1, 2, 3, 448, 448], 0.3303204, 0.049823),
    "DINOv3ViTImageProcessor": ("pixel_values", [1, 3, 224, 224], 0.2039477, -0.258789),
    "DepthProImageProcessor": ("pixel_values", [1, 3, 1536, 1536], -0.0101614, -0.000556),
    "Gemma4UnifiedImageProcessor": ("pixel_values", [1, 280, 6912], 0.4596126, 0.011012),  # names modes as Pillow does
    "MuseGlimmerImageProcessor": ("pixel_values", [308, 1176], -0.0100909, 0.05202),  # by Lanczos' windows
}
"""By class: an input, its shape, the mean of its numbers, and 1000 times the mean of their products with sines."""


@pytest.mark.parametrize("name", SUMS)
def test_processors_make_the_same_numbers(name: str) -> None:
    show_image_processors()
    kind: Any = get_image_processor_class_from_name(name)
    if kind is None:
        pytest.skip("of a later version")
    told, shape, mean, waved = SUMS[name]
    values = kind()(images=_drawn(), return_tensors="pt")[told]
    flat = values.double().flatten()
    assert list(values.shape) == shape
    assert flat.mean().item() == pytest.approx(mean, abs=2e-6)
    assert (flat * torch.arange(len(flat)).double().sin()).mean().item() * 1e3 == pytest.approx(waved, abs=2e-4)


def test_the_log_tells_of_no_torchvision(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = logging.getLogger("transformers.models.auto.image_processing_auto")
    monkeypatch.setattr(auto, "warning_once", auto.warning, raising=False)  # another test may have been first
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    transformers.DINOv3ViTConfig().save_pretrained(tmp_path)
    show_image_processors()
    kind: Any = get_image_processor_class_from_name("DINOv3ViTImageProcessor")
    kind().save_pretrained(tmp_path)
    auto.warning("heard")
    assert type(read_image_processor(Checkpoint(str(tmp_path), torch.device("cpu")))) is kind
    assert "heard" in caplog.text
    assert "Falling back" not in caplog.text


def _drawn() -> Image.Image:
    across, down = np.meshgrid(np.arange(301), np.arange(200))
    return Image.fromarray(
        np.stack([across * 255 // 300, down * 255 // 199, (across * down) % 256], -1).astype(np.uint8)
    )
