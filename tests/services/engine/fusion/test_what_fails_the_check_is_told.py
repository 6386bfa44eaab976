from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from services.engine.acceleration.replacement import accelerated
from services.engine.fusion.substitution import Substitutions
from services.engine.generation.building.verification import model_logits
from services.engine.loading import load_language_model
from services.engine.native.arena import Arena
from services.engine.native.library import Library

CPU = torch.device("cpu")
PROMPT = torch.tensor([[7, 9, 40]])


class WrongNorm(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return -inputs

    def give_back(self) -> None:
        pass


def test_a_model_whose_own_modules_are_put_back_says_so(llama_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_language_model(str(llama_folder), revision=None, device=CPU, dtype="float32")
    own = model_logits(loaded, PROMPT)

    def fuse(substitutions: Substitutions, _library: Library | None, _arena: Arena) -> None:
        substitutions.put("model.norm", WrongNorm())

    def check() -> None:
        if not torch.allclose(model_logits(loaded, PROMPT), own, atol=1e-4):
            raise RuntimeError("other logits")

    accelerated(loaded, check, fuse)
    assert type(loaded.model.model.norm).__name__ == "LlamaRMSNorm"
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "1 WrongNorm: other logits" in record.getMessage()
