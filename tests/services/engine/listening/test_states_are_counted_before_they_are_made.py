from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSpeechSeq2Seq
from transformers.models.seamless_m4t_v2 import modeling_seamless_m4t_v2 as seamless

from services.engine.listening.state_count import StateCount
from tests.tiny.scribes import write_scribe


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["seamless_m4t", "seamless_m4t_v2"])
def test_as_many_as_the_adapter_makes(tmp_path: Path, kind: str) -> None:
    """The model's own count is that of one layer, and wrong for other strides than half the kernel or the kernel."""
    write_scribe(tmp_path, kind)
    for layers, kernel, stride in ((1, 8, 8), (2, 4, 4), (1, 8, 4), (1, 4, 8)):
        config = AutoConfig.from_pretrained(
            tmp_path, num_adapter_layers=layers, adaptor_kernel_size=kernel, adaptor_stride=stride
        )
        model: Any = AutoModelForSpeechSeq2Seq.from_config(config).eval()
        features, mask = torch.rand(1, 58, 160), torch.ones(1, 58, dtype=torch.long)
        mask[:, 57:] = 0
        states = model.get_encoder()(input_features=features, attention_mask=mask).last_hidden_state
        own = model._compute_sub_sample_lengths_from_attention_mask(mask)
        attended = seamless._compute_new_attention_mask(states, own)
        assert StateCount(model).of({"input_features": features, "attention_mask": mask}) == attended.sum()
