"""What the decoder of an image-to-text model reads before its first token, for prompts of every kind."""

from pathlib import Path
from typing import Any

import pytest
import torch

from services.engine.checkpoint import Checkpoint
from services.engine.pictures.loading import load_picture_model
from tests.services.engine.media.pictures import noise
from tests.tiny.picture_models import write_picture_model


@pytest.mark.parametrize("name", ["vit-gpt2", "donut", "pix2struct"])
def test_a_start_token_is_there_once_or_as_the_prompt_has_it(tmp_path: Path, name: str) -> None:
    write_picture_model(tmp_path, name)
    pictures = load_picture_model(Checkpoint(str(tmp_path), torch.device("cpu"), dtype="float32")).pictures
    assert pictures is not None
    inputs, (start,) = pictures.inputs(noise(40, 30), ""), pictures.starts
    own: Any = pictures.model
    for prompt in ([], [7, 9], [start, 7, 9], [start]):
        given = pictures.arguments(inputs, torch.tensor([prompt])) if prompt else inputs
        made = own.generate(**given, max_new_tokens=1, do_sample=False)
        assert pictures.begun(prompt) == made[0, :-1].tolist()
