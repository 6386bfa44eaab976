from pathlib import Path

import pytest
import torch

from services.engine.checkpoint import Checkpoint
from services.engine.multimodal.loading import load_multimodal_model
from tests.drawn import drawn
from tests.own_multimodal import Said
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import layout_models as tiny
from tests.tiny.multimodal_models import picture

# ERNIE's processor makes arrays of tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("name", drawn([name for name in tiny.NAMES if name != "got_ocr2"], 2))
async def test_greedy_tokens_equal_generate(tmp_path: Path, name: str) -> None:
    rig = Rig.start(tiny.write_checkpoint(tmp_path, name), name, tiny.processor(name))
    first, second = picture(0, 160, 130), picture(1, 69, 47)
    turns: list[tuple[Said, ...]] = [
        (first, "What?"), ("Then ", second, "it is"), ("Only words.",), ("Then ", second, first, " or ", second),
    ]  # fmt: skip
    await rig.must_generate_its_own(turns)


@pytest.mark.parametrize("name", ["got_ocr2", "molmo2"])
def test_several_images_are_taken_where_each_is_prepared_as_alone(tmp_path: Path, name: str) -> None:
    if name not in tiny.NAMES:
        pytest.skip("is not in this version of transformers")
    loaded = load_multimodal_model(Checkpoint(str(tiny.write_checkpoint(tmp_path, name)), torch.device("cpu")))
    assert loaded.media is not None
    assert not loaded.media.manner.alone
