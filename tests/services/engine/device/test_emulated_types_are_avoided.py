import logging
import platform
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification

from local.stack import element_type
from services.engine.checkpoint import Checkpoint, read_config, read_model
from services.engine.device.arithmetic import emulated

CPU = torch.device("cpu")
DIGITS = str(Path(__file__).parents[4] / "models/digits")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors' flags say nothing of AVX-512")
def test_bfloat16_is_emulated_without_avx_512() -> None:
    assert emulated(torch.bfloat16, CPU) is bool(element_type())


def test_float32_is_not_and_gpus_have_all() -> None:
    assert not emulated(torch.float32, CPU)
    assert not emulated(torch.bfloat16, torch.device("cuda:0"))


@pytest.mark.parametrize(
    ("dtype", "convolving", "read"),
    [
        ("auto", True, torch.float32),
        ("auto", False, torch.bfloat16),
        ("bfloat16", True, torch.bfloat16),
    ],
)
def test_convolutions_are_computed_in_float32_where_their_own_type_is_emulated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dtype: str, convolving: bool, read: torch.dtype
) -> None:
    monkeypatch.setattr("services.engine.checkpoint.emulated", lambda dtype, device: True)
    caplog.set_level(logging.INFO)
    checkpoint = Checkpoint(DIGITS, CPU, dtype=dtype, convolving=convolving)
    assert read_model(checkpoint, read_config(checkpoint), AutoModelForImageClassification).dtype is read
    assert ("only emulates bfloat16" in caplog.text) is (read is torch.float32)
