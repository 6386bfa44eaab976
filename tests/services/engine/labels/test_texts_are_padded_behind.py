from types import SimpleNamespace
from typing import Any

import pytest
from transformers import CLIPConfig, SiglipConfig

from services.engine.joint import JointModel
from tests.tiny.encoders import wordpiece


@pytest.mark.parametrize(("kind", "before", "behind"), [(CLIPConfig, 0, 3), (SiglipConfig, 59, 0)])
def test_only_padding_to_one_length_for_all_may_stand_before_a_text(kind: Any, before: int, behind: int) -> None:
    """A text of CLIP has the positions that it has alone. SigLIP was trained on 64 tokens, padded as its files say."""
    tokenizer, config = wordpiece(), kind()
    tokenizer.padding_side = "left"
    model = SimpleNamespace(get_image_features=None, get_text_features=None, config=config)
    loaded: Any = SimpleNamespace(model=model, tokenizer=tokenizer, config=config, context_tokens=77)
    text = "the lazy dog"
    ids = JointModel(loaded).read(text, field="").tensors["input_ids"].tolist()
    pad = tokenizer.pad_token_id
    assert ids == [pad] * before + tokenizer(text)["input_ids"] + [pad] * behind
