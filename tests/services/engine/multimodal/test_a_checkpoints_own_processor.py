import json
from pathlib import Path

import pytest
import torch

from services.engine.checkpoint import Checkpoint, Trust
from services.engine.multimodal.processor_class import read_processor
from tests.tiny import multimodal_models as tiny


@pytest.mark.parametrize("trusted", [True, False])
def test_it_is_used_where_its_code_may_be_run_also_beside_a_known_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tiny.write_checkpoint(tmp_path / "model", "llava")
    (folder / "own.py").write_text("from transformers import LlavaProcessor\nclass Own(LlavaProcessor): ...\n")
    named = folder / "processor_config.json"
    named.write_text(json.dumps(json.loads(named.read_text()) | {"auto_map": {"AutoProcessor": "own.Own"}}))
    checkpoint = Checkpoint(str(folder), torch.device("cpu"), trust=Trust(remote_code=trusted))
    made = read_processor(checkpoint, tiny.CONFIGS["llava"]())
    assert type(made).__name__ == ("Own" if trusted else "LlavaProcessor")
