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
