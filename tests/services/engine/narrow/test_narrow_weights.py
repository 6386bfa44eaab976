"""8-bit weights on the slow path, with which kernels are compared in other tests."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from services.engine.checkpoint import ModelRefused
from services.engine.loading import LoadedModel, load_language_model
from services.engine.narrow.experts import NarrowExperts
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.model import narrow_weights, unsuitable, widen_weights
from services.engine.narrow.numbers import NarrowKind, narrowed, widened
from tests.drawn import drawn
from tests.services.bench import built_bench
from tests.tiny.language_models import STATEFUL, write_checkpoint

CPU = torch.device("cpu")
KINDS: list[NarrowKind] = ["int8", "fp8_e4m3"]
STEPS = {"int8": 1 / 127, "fp8_e4m3": 1 / 8}
"""Between neighbouring numbers: of the largest of a row, or of the number itself."""


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_the_nearest_and_scales_are_each_rows_own(kind: NarrowKind) -> None:
    weight = torch.randn(40, 64) * torch.logspace(-6, 6, 40).unsqueeze(1)
    weight[3] = 0
    numbers, scales = narrowed(weight, kind)
    assert numbers.element_size() == 1
    wide, largest = widened(numbers, scales, torch.empty_like(weight)), weight.abs().amax(dim=1, keepdim=True)
    # Subnormal e4m3 numbers are 2 ** -9 apart, where the greatest number is 448.
    step = STEPS[kind] * (largest if kind == "int8" else weight.abs()) + largest * 2**-9 / 448
    assert bool(((wide - weight).abs() <= step / 2 * 1.001).all())
    assert not wide[3].any()
    torch.testing.assert_close(wide.abs().amax(dim=1, keepdim=True), largest)
    again, _ = narrowed(wide, kind)
    assert torch.equal(again.float(), numbers.float())


@pytest.mark.parametrize("kind", KINDS)
def test_sums_whose_parts_are_rounded_apart_err_no_more(kind: NarrowKind) -> None:
    """As when each rank rounds its part. One part has a few large columns, as real models do."""
    weight, inputs = torch.randn(256, 2048), torch.randn(16, 2048, dtype=torch.float64)
    weight[:, 100:104] *= 20
    exact, errors = inputs @ weight.double().t(), list[float]()
    for count in (1, 2):
        parts = [widened(*narrowed(part, kind), torch.empty_like(part)) for part in weight.chunk(count, dim=1)]
        errors.append(float((inputs @ torch.cat(parts, dim=1).double().t() - exact).norm() / exact.norm()))
    whole, apart = errors
    assert apart < whole * (0.9 if kind == "int8" else 1.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_and_whoever_reads_its_weight_see_the_same(kind: NarrowKind, dtype: torch.dtype) -> None:
    layer, rows = NarrowLinear(nn.Linear(32, 24, dtype=dtype), kind, CPU), torch.randn(3, 32, dtype=dtype)
    assert (layer.weight.shape, layer.weight.dtype, layer.weight.device.type) == ((24, 32), dtype, "cpu")
    with torch.inference_mode():
        assert torch.equal(functional.linear(rows, layer.weight, layer.bias), layer(rows))
        assert torch.equal(rows @ layer.weight.t(), rows @ layer.widened().t())
    assert sum(parameter.numel() for parameter in layer.parameters()) == 24 * 33


def load(folder: Path, kind: NarrowKind) -> LoadedModel:
    loaded = load_language_model(str(folder), revision=None, device=CPU, dtype="float32")
    narrow_weights(loaded.model, kind, CPU)
    return loaded


@pytest.mark.parametrize(
    ("name", "narrow", "kind"),
    drawn(
        [
            ("llama", 21, "int8"),
            ("gpt_oss", 12 + 3, "fp8_e4m3"),
            ("qwen3_moe", 8 + 2, "int8"),
            ("t5", 48, "int8"),
            ("mamba", 9, "fp8_e4m3"),
        ],
        3,
    ),
)
async def test_the_engine_equals_generate_of_the_rounded_weights(
    name: str, narrow: int, kind: NarrowKind, tmp_path: Path
) -> None:
    """Models with fused layers, without, an encoder-decoder that reads a weight's dtype, and a model that computes with
    a weight.
    """
    loaded = load(write_checkpoint(tmp_path, name), kind)
    layers = [module for module in loaded.model.modules() if isinstance(module, (NarrowLinear, NarrowExperts))]
    assert len(layers) == narrow
    assert type(loaded.model.get_output_embeddings()) is nn.Linear
    rounded = load_language_model(str(tmp_path), revision=None, device=CPU, dtype="float32")
    assert rounded.model.num_parameters() == loaded.model.num_parameters()
    assert rounded.model.get_memory_footprint() > loaded.model.get_memory_footprint()
    narrow_weights(rounded.model, kind, CPU)
    widen_weights(rounded.model)
    assert not any(isinstance(module, (NarrowLinear, NarrowExperts)) for module in rounded.model.modules())
    model: Any = rounded.model
    prompt, bench = [9, 40, 7, 33, 21], built_bench(loaded, serial=name in STATEFUL)
    starts, source = list(loaded.decoder_start_ids), prompt if loaded.decoder_start_ids else None
    asked: dict[str, Any] = {"max_new_tokens": 12} | ({"source": source} if source else {})
    try:
        result = await bench.run(starts or prompt, **asked)
    finally:
        bench.engine.close()
    own = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0]
    assert result.ids == own[len(starts or prompt) :].tolist()


def test_what_chooses_or_is_shared_stays_wide() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.up, self.odd = nn.Linear(32, 4), nn.Linear(32, 16), nn.Linear(30, 16)
            self.twice, self.head = self.up, nn.Linear(32, 16)
            self.tied = nn.Linear(32, 16)
            self.tied.weight = self.head.weight

        def num_parameters(self) -> int:
            return sum(parameter.numel() for parameter in self.parameters())

        def get_output_embeddings(self) -> nn.Module:
            return self.head

    model: Any = Model()
    narrow_weights(model, "int8", CPU)
    assert isinstance(model.up, NarrowLinear)
    assert model.twice is model.up
    assert all(type(kept) is nn.Linear for kept in (model.gate, model.odd, model.head, model.tied))
    model.up = model.twice = None
    with pytest.raises(ValueError, match="no linear layers"):
        narrow_weights(model, "int8", CPU)


@pytest.mark.parametrize("kind", KINDS)
def test_where_they_would_be_slow_they_are_refused(
    kind: NarrowKind, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelRefused, match=r"slower on a CPU\. Use bitsandbytes-int8"):
        load_language_model(str(llama_folder), revision=None, device=CPU, dtype="auto", quantization=kind)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 0))
    assert ("Use int8" in unsuitable(kind, torch.device("cuda:0"))) == (kind == "fp8_e4m3")


def test_loading_narrows_behind_the_weights(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("services.engine.checkpoint.unsuitable", lambda _kind, _device: "")
    loaded = load_language_model(
        str(llama_folder), revision=None, device=CPU, dtype="bfloat16", quantization="fp8_e4m3"
    )
    assert loaded.quantization == "fp8_e4m3"
    assert loaded.model.dtype is torch.bfloat16
    assert isinstance(loaded.model.model.layers[0].mlp.up_proj, NarrowLinear)
    # Not the embedding, the norms and the head.
    assert loaded.rounded_parameter_count == 3 * (32 * 32 * 2 + 32 * 16 * 2 + 32 * 64 * 3)
    share = loaded.rounded_parameter_count / loaded.parameter_count
    assert f"{100 * share:.0f} % of the weights are fp8_e4m3: those of 21 linear layers" in caplog.text
