"""Images that reach a model as they were sent, because its files forbid to pad or resize them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageToImage, ViltForQuestionAnswering

from services.engine.images.reader import ImageInputs
from services.engine.images.transformation import Transformation
from services.engine.media.refusal import ImageRefused
from services.multimodal.reading.answer_image import QuestionReader
from tests.tiny.page_models import write_vilt
from tests.tiny.vision_models import write_vision_model


def inputs(width: int, height: int) -> ImageInputs:
    ones = torch.ones(height, width, dtype=torch.long)
    return ImageInputs({"pixel_values": torch.rand(3, height, width), "pixel_mask": ones}, width, height)


def fails(model: Any, image: ImageInputs, **more: Any) -> bool:
    """Returns whether the library's own model fails on an image."""
    given = {name: value[None] for name, value in image.tensors.items() if name == "pixel_values" or more}
    try:
        with torch.inference_mode():
            model(**given, **more)
    except (RuntimeError, ValueError, IndexError):
        return True
    return False


def test_those_are_refused_that_the_library_fails_on(tmp_path: Path) -> None:
    model = AutoModelForImageToImage.from_pretrained(
        write_vision_model(tmp_path, "swin2sr", AutoModelForImageToImage)
    ).eval()
    loaded: Any = SimpleNamespace(model=model, config=model.config)
    transformation, window = Transformation(loaded), model.config.window_size
    refused = 0
    for width, height in ((window, 2 * window), (window + 1, window), (2 * window, window - 1), (1, 1)):
        image = inputs(width, height)
        if not fails(model, image):
            transformation.check_sides(image)
            continue
        refused += 1
        with pytest.raises(
            ImageRefused, match=f"^is {width} × {height} pixels; the model reads only sides .* multiples of {window}$"
        ):
            transformation.check_sides(image)
    assert refused == 3


def test_images_of_less_than_a_patch_are_refused(tmp_path: Path) -> None:
    model = ViltForQuestionAnswering.from_pretrained(write_vilt(tmp_path)).eval()
    reader, patch = QuestionReader.__new__(QuestionReader), model.config.patch_size
    reader._patch = patch
    ids = torch.tensor([[1, 2]])
    question = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    found: list[str] = []
    for width, height in ((patch, patch), (patch + 1, 2 * patch - 1), (patch - 1, patch), (3 * patch, 1)):
        image = inputs(width, height)
        wrong = reader.check_sides(image)
        assert bool(wrong) == fails(model, image, **question)
        found += [violation.description for violation in wrong]
    said = f"pixels; the model reads sides of at least {patch}"
    assert found == [f"is {patch - 1} × {patch} {said}", f"is {3 * patch} × 1 {said}"]
