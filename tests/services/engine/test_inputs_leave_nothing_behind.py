"""Models of transformers that keep something of an input and read the next one by it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BigBirdConfig,
    BigBirdPegasusConfig,
    PretrainedConfig,
    SwinConfig,
)
from transformers.models.donut.configuration_donut_swin import DonutSwinConfig

from services.engine.batching.job import Item
from services.engine.checkpoint import Checkpoint, read_config, read_model
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.company import Company, company_of
from services.engine.encoders.loading import load_text_encoder
from services.engine.encoders.outputs import read_logits
from services.engine.encoders.runner import TextRunner
from services.engine.encoders.tokens import TextTokens
from tests.tiny.encoders import CONTEXT, bytelevel
from tests.tiny.vision_models import stir

CPU = torch.device("cpu")
IDS: dict[str, Any] = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "vocab_size": 330}
SPARSE: dict[str, Any] = {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1}
"""Attends to everything in texts of up to 28 tokens."""
READERS: dict[str, Callable[[], PretrainedConfig]] = {
    "big_bird": lambda: BigBirdConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, sep_token_id=2,
        max_position_embeddings=CONTEXT, **IDS, **SPARSE,
    ),
    "bigbird_pegasus": lambda: BigBirdPegasusConfig(
        d_model=64, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=128, decoder_ffn_dim=128, max_position_embeddings=CONTEXT, decoder_start_token_id=2,
        **IDS, **SPARSE,
    ),
}  # fmt: skip
LENGTHS = (8, 64, 41, 28, 29, 64, 42)

WINDOWS: dict[str, Any] = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "patch_size": 4, "window_size": 4}
"""Of 16 × 16 pixels in the first stage, of 32 × 32 in the second."""
SWINS: dict[str, Callable[[], PretrainedConfig]] = {
    "swin": lambda: SwinConfig(image_size=64, **WINDOWS),
    "donut-swin": lambda: DonutSwinConfig(image_size=64, **WINDOWS),
}
SIZES = ((96, 64), (32, 64), (96, 64), (64, 80))
"""Heights and widths; the second's windows are as large as it is high, and are not shifted."""
TOO_NARROW = (24, 64)
"""Has windows that the model has no weights for."""


@pytest.mark.parametrize("name", READERS)
def test_a_long_text_is_attended_to_in_blocks_after_a_short_one(tmp_path: Path, name: str) -> None:
    write(tmp_path, AutoModelForSequenceClassification, READERS[name]())
    bytelevel().save_pretrained(tmp_path)
    loaded = load_text_encoder(Checkpoint(str(tmp_path), CPU), AutoModelForSequenceClassification)
    accelerate(loaded)
    company = company_of(loaded)
    texts = [[0, *(5 + i * j % 300 for i in range(2, length)), 2] for j, length in enumerate(LENGTHS, start=3)]
    runner = TextRunner(loaded.model, CPU, loaded.pad_id, read_logits, company=company)
    found = runner.run([Item(TextTokens(ids, [0] * len(ids)), len(ids)) for ids in texts])
    assert company is Company.EVEN
    for ids, logits in zip(texts, found, strict=True):
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
        with torch.inference_mode():
            own = model(input_ids=torch.tensor([ids])).logits[0]
        torch.testing.assert_close(torch.from_numpy(logits), own, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", SWINS)
def test_a_picture_is_seen_as_before_after_a_narrow_one(tmp_path: Path, name: str) -> None:
    write(tmp_path, AutoModel, SWINS[name]())
    checkpoint = Checkpoint(str(tmp_path), CPU)
    served = read_model(checkpoint, read_config(checkpoint), AutoModel)
    generator = torch.Generator().manual_seed(2)
    for height, width in SIZES:
        pixels = torch.randn(1, 3, height, width, generator=generator)
        torch.testing.assert_close(seen(served, pixels), seen(AutoModel.from_pretrained(tmp_path), pixels))


@pytest.mark.parametrize("name", SWINS)
def test_a_picture_is_seen_after_one_that_was_too_narrow(tmp_path: Path, name: str) -> None:
    write(tmp_path, AutoModel, SWINS[name]())
    checkpoint = Checkpoint(str(tmp_path), CPU)
    served = read_model(checkpoint, read_config(checkpoint), AutoModel)
    pixels = torch.randn(1, 3, *SIZES[0], generator=torch.Generator().manual_seed(2))
    own = seen(served, pixels)
    with pytest.raises(RuntimeError):
        seen(served, torch.randn(1, 3, *TOO_NARROW))
    torch.testing.assert_close(seen(served, pixels), own)


@torch.inference_mode()
def seen(model: Any, pixels: Tensor) -> Tensor:
    """Returns what a model makes of a picture."""
    return model(pixel_values=pixels)[0]


def write(folder: Path, kind: Any, config: PretrainedConfig) -> None:
    """Writes a random model."""
    torch.manual_seed(0)
    model = kind.from_config(config)
    stir(model)
    model.save_pretrained(folder)
