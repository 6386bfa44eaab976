from types import SimpleNamespace
from typing import Any

import pytest
import torch

from services.engine.acceleration.trial import try_out
from services.engine.checkpoint import ModelRefused


@pytest.mark.parametrize("error", [RuntimeError, AttributeError, KeyError])
def test_what_a_models_own_code_raises_is_a_refusal(error: type[Exception]) -> None:
    loaded: Any = SimpleNamespace(model=torch.nn.Linear(1, 1), device=torch.device("cpu"))

    def run() -> list[torch.Tensor]:
        raise error("sizes do not match")

    with pytest.raises(ModelRefused, match=r"Linear cannot be run on what its processor makes of one image.*do not"):
        try_out(loaded, run, "image")


def test_a_model_is_run_once_as_it_is_and_once_with_each_change() -> None:
    """Nothing of it is an encoder layer, so linear layers are all that is changed."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    model.dtype = torch.float32  # as transformers' models have
    runs: list[torch.Tensor] = []

    def run() -> list[torch.Tensor]:
        runs.append(model(torch.ones(2, 2)))
        return [runs[-1]]

    loaded: Any = SimpleNamespace(model=model, device=torch.device("cpu"))
    with torch.inference_mode():
        try_out(loaded, run, "image")
    assert len(runs) == 2
