import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.loading import load_text_encoder
from services.engine.loading import load_language_model
from tests.services.bench import real_bench
from tests.tiny.encoders import write_encoder
from tests.tiny.language_models import write_checkpoint

CPU = torch.device("cpu")
KINDS = ["bitsandbytes-int8", "bitsandbytes-nf4", "bitsandbytes-nf4-double", "bitsandbytes-fp4"]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("wide"), "wide_llama"))


@pytest.mark.parametrize("kind", KINDS)
async def test_quantized_weights_are_smaller_and_the_engine_equals_generate(kind: str, wide: str) -> None:
    """Whatever quantization changes, engine and `generate` see the same model."""
    whole = load_language_model(wide, revision=None, device=CPU, dtype="float32")
    loaded = load_language_model(wide, revision=None, device=CPU, dtype="float32", quantization=kind)
    assert loaded.quantization == kind
    assert loaded.model.get_memory_footprint() < whole.model.get_memory_footprint()
    prompt = [9, 40, 7, 33, 21]
    bench = real_bench(loaded)
    try:
        result = await bench.run(prompt, max_new_tokens=12)
    finally:
        bench.engine.close()
    loaded.model.set_attn_implementation("eager")
    own = loaded.model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt) :]
    assert result.ids == own.tolist()


@torch.inference_mode()
def test_vectors_stay_within_2_percent_and_neighbours_change_nothing(tmp_path: Path) -> None:
    """Activations are quantized row by row."""
    folder = write_encoder(tmp_path / "bert", "bert", AutoModel)
    checkpoint = Checkpoint(str(folder), CPU, dtype="float32", quantization="bitsandbytes-int8")
    loaded = load_text_encoder(checkpoint, AutoModel)
    accelerate(loaded)
    ids = torch.randint(5, 90, (3, 12))
    own = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()(ids).last_hidden_state
    found = loaded.model(ids).last_hidden_state
    assert loaded.quantization == "bitsandbytes-int8"
    assert 0 < (found - own).norm() / own.norm() < 0.02
    assert torch.equal(loaded.model(ids[:1]).last_hidden_state[0], found[0])


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_methods_that_need_other_packages_are_refused_by_name(method: str, llama_folder: Path, tmp_path: Path) -> None:
    for path in llama_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4, "group_size": 128}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelRefused, match=f"quantized by {method}"):
        load_language_model(str(tmp_path), revision=None, device=CPU, dtype="auto")
