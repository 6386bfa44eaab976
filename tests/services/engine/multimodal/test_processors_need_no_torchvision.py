import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5OmniConfig

from services.engine.checkpoint import Checkpoint
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.loading import load_multimodal_model
from tests.drawn import drawn
from tests.own_multimodal import Said, recording
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import tensor_models as tiny
from tests.tiny.multimodal_models import picture

_OLD = tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 24)
_LATER = ("gemma4", "qwen2_5_omni", "video_llava")


@pytest.mark.parametrize("name", drawn([*tiny.CONFIGS], 2))
async def test_greedy_tokens_equal_generate(tmp_path: Path, name: str) -> None:
    if name in _LATER and _OLD:
        pytest.skip("its processor needs torchvision in this version of transformers")
    rig = Rig.start(tiny.write_checkpoint(tmp_path, name), name, tiny.processor(name))
    first, second = picture(0), picture(1, 69, 47)
    turns: list[tuple[Said, ...]] = [(first, "What?"), ("Then ", second, " or ", first), ("Only words.",)]
    if name in ("phi4_multimodal", "qwen2_5_omni"):
        turns.append((second, "Who says ", recording(1), "?"))
    if name == "mistral3":  # whose own code fails on an image of one token alone, but not beside another
        turns.append((picture(2, 16, 16), " beside ", first))
    await rig.must_generate_its_own(turns)
    assert rig.loaded.media is not None
    # Phi-4's makes features of the silence behind the shorter of two recordings, which is not there alone.
    assert rig.loaded.media.manner.alone == ({MediaKind.AUDIO} if name == "phi4_multimodal" else set())


@pytest.mark.skipif(_OLD, reason="its processor needs torchvision in this version of transformers")
def test_of_a_model_that_speaks_too_the_part_that_writes_is_served(tmp_path: Path) -> None:
    thinker = tiny.write_checkpoint(tmp_path / "thinker", "qwen2_5_omni")
    whole = tmp_path / "whole"
    shutil.copytree(thinker, whole)
    Qwen2_5OmniConfig(thinker_config=tiny.CONFIGS["qwen2_5_omni"]().to_dict()).save_pretrained(whole)
    weights = load_file(whole / "model.safetensors")
    save_file({f"thinker.{name}": value for name, value in weights.items()}, whole / "model.safetensors")
    apart, within = (
        load_multimodal_model(Checkpoint(str(folder), torch.device("cpu"))).model for folder in (thinker, whole)
    )
    assert type(within) is type(apart)
    assert all(torch.equal(value, within.state_dict()[name]) for name, value in apart.state_dict().items())
