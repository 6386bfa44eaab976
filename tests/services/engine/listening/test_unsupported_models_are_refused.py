from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.listening.loading import load_listening_model


@pytest.mark.parametrize(("kind", "elsewhere"), [("qwen2_audio", True), ("speecht5", False)])
def test_a_chat_model_is_refused_with_the_name_of_its_service(tmp_path: Path, kind: str, elsewhere: bool) -> None:
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    with pytest.raises(ModelRefused, match=f"is a {kind} checkpoint") as refused:
        load_listening_model(Checkpoint(str(tmp_path), torch.device("cpu")))
    assert ("services.multimodal asks this one in conversations" in str(refused.value)) == elsewhere
