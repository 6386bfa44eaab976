from pathlib import Path

import numpy as np
import pytest
import torch

from services.engine.checkpoint import Checkpoint
from services.engine.listening.scribe import load_scribe
from services.engine.multimodal.processor import MediumRefused
from tests.tiny.scribes import write_scribe


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the extractor takes the mean of nothing
@pytest.mark.parametrize("kind", ["seamless_m4t", "seamless_m4t_v2"])
def test_a_recording_without_a_frame_is_refused(tmp_path: Path, kind: str) -> None:
    """Its features have no frames, of which the model's own count makes one state."""
    scribe = load_scribe(Checkpoint(str(write_scribe(tmp_path, kind)), torch.device("cpu")), 2)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 1600).astype(np.float32)
    with pytest.raises(MediumRefused, match=r"is 0\.02 s long"):
        scribe.medium(noise[:320])
    assert scribe.medium(noise).token_count > 0
