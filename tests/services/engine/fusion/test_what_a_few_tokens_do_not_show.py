"""Modules that give the usual results until a text is long or a number is large are not fused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, DeepseekV4Config, LlamaConfig, OlmoConfig
from transformers.activations import ACT2FN
from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4MLP
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.olmo.modeling_olmo import OlmoAttention

from services.engine.acceleration.replacement import accelerate
from services.engine.checkpoint import Checkpoint
from services.engine.encoders.loading import load_text_encoder
from services.engine.fusion.attention import is_attention
from services.engine.fusion.last_layer import last_layers
from services.engine.fusion.mlp import FusedMlp, activation_of, fused_mlp
from services.engine.fusion.survey import Observation
from services.engine.loading import load_language_model
from services.engine.native.arena import Arena
from services.engine.native.library import Library, load_library
from services.engine.native.linear import Gate
from tests.services.bench import build, outputs_of, read, request
from tests.tiny.encoders import write_encoder
from tests.tiny.language_models import greedy, write_checkpoint

PROMPT = [7 + i * 11 % 300 for i in range(90)]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """The native library, also on machines where torch's linear layers are faster."""
    library = load_library()
    if library is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setattr(library, "linear_pays", dict.fromkeys(library.linear_pays, True))
    return library


@pytest.mark.usefixtures("library")
async def test_layers_that_scale_queries_by_their_places_are_the_models_own(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "ministral3", seed=3)
    loaded = load_language_model(str(tmp_path), revision=None, device=torch.device("cpu"), dtype="auto")
    built, asked = build(loaded), request(PROMPT, max_new_tokens=12)
    assert not built.serial
    assert any(isinstance(module, FusedMlp) for module in loaded.model.modules())
    built.engine.start()
    try:
        result = await read(built.engine.submit(asked, *outputs_of(asked)))
    finally:
        built.engine.close()
    assert result.ids == greedy(tmp_path, PROMPT, 12)


class Placed(nn.Module):
    """Multiplies with a factor from the hundredth token on."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        return torch.where(position_ids.unsqueeze(-1) < 100, hidden_states, hidden_states * self.factor)


@pytest.mark.parametrize(("dtype", "factor"), [(torch.bfloat16, 1.01), (torch.float32, 1.00001)])
def test_a_change_by_places_is_told_however_small_it_is(dtype: torch.dtype, factor: float) -> None:
    hidden, places = torch.ones(1, 3, 16, dtype=dtype), torch.arange(3).unsqueeze(0)
    seen = Observation((hidden,), {"position_ids": places}, hidden)
    assert seen.depends_on_places(Placed(factor), 200)
    assert not seen.depends_on_places(Placed(factor), 99)
    assert not seen.depends_on_places(Placed(1.0), 200)


@pytest.mark.parametrize(
    ("kind", "config", "known"),
    [
        (LlamaMLP, LlamaConfig(hidden_size=32, intermediate_size=64), True),
        (DeepseekV4MLP, DeepseekV4Config(hidden_size=32, moe_intermediate_size=64, intermediate_size=64), False),
    ],
)
def test_a_gate_that_cuts_off_large_numbers_is_the_models_own(
    library: Library, kind: type[nn.Module], config: Any, known: bool
) -> None:
    assert (fused_mlp(kind(config), library, Arena()) is not None) == known


@pytest.mark.parametrize("most", [None, 8.0])
def test_attention_that_cuts_off_large_numbers_is_the_models_own(most: float | None) -> None:
    config = OlmoConfig(hidden_size=32, num_attention_heads=4, clip_qkv=most)
    assert is_attention(OlmoAttention(config, 0)) == (most is None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gelu", Gate.GELU),
        ("gelu_new", Gate.GELU_TANH),
        ("quick_gelu", Gate.QUICK_GELU),
        ("relu", Gate.RELU),
        ("silu", Gate.SILU),
        ("gelu_10", None),
        ("relu6", None),
    ],
)
def test_an_activation_that_cuts_off_large_numbers_is_the_models_own(name: str, kind: Gate | None) -> None:
    assert activation_of(ACT2FN[name]) is kind


@pytest.mark.usefixtures("library")
def test_a_check_of_single_tokens_does_not_tell_that_others_are_unread(tmp_path: Path) -> None:
    write_encoder(tmp_path, "bert", AutoModel)
    loaded = load_text_encoder(Checkpoint(str(tmp_path), torch.device("cpu")), AutoModel)
    ids = torch.randint(5, 90, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        own = loaded.model(input_ids=ids)[0]
        accelerate(loaded, lambda: [loaded.model(input_ids=ids[:, :1])[0]])
        assert len(last_layers(loaded.model)) == 1
        torch.testing.assert_close(loaded.model(input_ids=ids)[0], own, rtol=1e-3, atol=1e-4)
