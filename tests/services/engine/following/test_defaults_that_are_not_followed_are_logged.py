from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from services.engine.checkpoint import Checkpoint
from services.engine.device.memory import HostMemory
from services.engine.following import loading
from services.engine.following.row_cache import Room


def test_defaults_that_are_not_followed_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = GenerationConfig(repetition_penalty=1.5, eos_token_id=2, audio_window_size=2, cache_implementation="static")
    fake: Any = SimpleNamespace(rows=0, rate=8, loaded=SimpleNamespace(model=SimpleNamespace(generation_config=own)))
    monkeypatch.setitem(loading.FOLLOWERS, "fake", lambda *_: fake)
    place = Checkpoint("nowhere", torch.device("cpu"))
    assert loading.load_following_model(place, "fake", Room(1, 1, HostMemory()), 1) is fake
    assert [record.message for record in caplog.records] == [
        "The model's generation configuration sets what is not followed here: repetition_penalty"
    ]
