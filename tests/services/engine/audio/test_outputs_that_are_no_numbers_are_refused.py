"""A model in float16 may overflow on one recording. Its likeliest token would then be the first of the vocabulary."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from services.engine.audio.reader import AudioInputs
from services.engine.audio.runner import AudioRunner
from services.engine.batching.job import Item


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_only_finite_outputs_are_answers(wrong: float) -> None:
    loaded: Any = SimpleNamespace(
        device=torch.device("cpu"), model=SimpleNamespace(dtype=torch.float32), extractor=SimpleNamespace()
    )
    runner = AudioRunner(loaded, lambda batch: {"ids": batch["x"].argmax(-1), "values": batch["x"] * 2})
    good, bad = (Item(AudioInputs({"x": torch.tensor([1.0, value])}, "", 1)) for value in (3.0, wrong))
    (output,) = runner.run([good])
    assert output["values"].tolist() == [2.0, 6.0]
    for items in ([bad], [good, bad]):
        with pytest.raises(ArithmeticError, match="NaN or infinite"):
            runner.run(items)
