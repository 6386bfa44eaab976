from types import SimpleNamespace
from typing import Any

import pytest

from services.engine.audio.frame_count import frame_length
from services.engine.checkpoint import ModelRefused


@pytest.mark.parametrize("length", [160, 320, 640, 960, 1280, 1920])
def test_frames_of_all_usual_lengths_are_measured(length: int) -> None:
    assert measured(length) == length


def test_frames_that_are_no_whole_number_of_samples_are_refused() -> None:
    with pytest.raises(ModelRefused, match="not a whole number of samples"):
        measured(977)


def measured(length: int) -> int:
    """Returns the frame length that is measured of a model whose windows are longer than its frames."""
    reader: Any = SimpleNamespace(rate=16_000, process=lambda samples: SimpleNamespace(tensors=len(samples)))
    runner: Any = SimpleNamespace(compute=lambda batch: {"count": [(batch[0] - 400) // length + 1]})
    return frame_length(reader, runner, "count")
