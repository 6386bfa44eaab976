from pathlib import Path

import pytest
import torch

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.listening.scribe import load_scribe
from tests.tiny.scribes import write_scribe


def test_the_widest_window_that_fits_is_told(tmp_path: Path) -> None:
    write_scribe(tmp_path, "moonshine_streaming")
    checkpoint = Checkpoint(str(tmp_path), torch.device("cpu"))
    with pytest.raises(ModelRefused, match="hears at most 40 s at once: set --window-seconds to 40"):
        load_scribe(checkpoint, 60)
    assert load_scribe(checkpoint, 40).loaded.source_tokens == 2000
