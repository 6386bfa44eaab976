"""Encoders with weights in 8 bits by bitsandbytes, whose activations are quantized row by row."""

from pathlib import Path

import torch
from transformers import AutoModel

from services.engine.checkpoint import Checkpoint
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.loading import load_text_encoder
from tests.tiny.encoders import write_encoder


@torch.inference_mode()
def test_vectors_stay_within_2_percent_and_neighbours_change_nothing(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModel)
    checkpoint = Checkpoint(str(folder), torch.device("cpu"), dtype="float32", quantization="bitsandbytes-int8")
    loaded = load_text_encoder(checkpoint, AutoModel)
    accelerate(loaded)
    ids = torch.randint(5, 90, (3, 12))
    own = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()(ids).last_hidden_state
    found = loaded.model(ids).last_hidden_state
    assert loaded.quantization == "bitsandbytes-int8"
    assert 0 < (found - own).norm() / own.norm() < 0.02
    assert torch.equal(loaded.model(ids[:1]).last_hidden_state[0], found[0])
