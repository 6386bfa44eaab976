import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import enable_progress_bars
from transformers.utils.logging import enable_progress_bar

from services.engine.loading import load_language_model
from services.library_logs import adopt_library_logs
from tests.logged import Logged, logged
from tests.services.bench import build
from tests.services.engine.generation.own_generate import write


@pytest.fixture
def log() -> Iterator[Logged]:
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    with logged(level="info") as log:
        adopt_library_logs()
        yield log
    for logger, (handlers, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
    enable_progress_bar()
    enable_progress_bars()


def test_every_line_of_a_load_is_json_and_no_limit_is_warned_of(log: Logged, tmp_path: Path) -> None:
    """The model has state beside keys and values, and limits itself: transformers would warn of `max_length`."""
    folder = write(tmp_path, "lfm2")
    loaded = load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")
    loaded.model.generation_config.max_new_tokens = 9
    build(loaded)
    assert log.entries
    assert len(log.entries) == len(log.text.splitlines()), log.text
    assert "max_length" not in log.text


def test_a_warning_is_a_line_once(log: Logged) -> None:
    for name in ("transformers.a", "huggingface_hub.b"):
        logging.getLogger(name).warning("look")
        assert [entry["message"] for entry in log.entries if entry["logger"] == name] == ["look"]
    assert log.text.count("look") == 2
