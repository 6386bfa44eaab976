import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, silu

from services.engine.acceleration.packing import OneDnnLinear, pack_linears
from services.engine.fusion.substitution import Substitutions
from services.engine.native.arena import Arena
from services.engine.native.library import Library
from services.engine.native.linear import Gate, NativeLinear, takes
from tests.services.engine.native.instruction_sets import LIBRARIES

libraries = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES.keys())
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
rows = pytest.mark.parametrize("rows", [1, 5, 14, 33, 300])

ACTIVATIONS = {
    Gate.SILU: silu,
    Gate.GELU: gelu,
    Gate.GELU_TANH: lambda x: gelu(x, approximate="tanh"),
}


def close(found: torch.Tensor, exact: torch.Tensor) -> None:
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if found.dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(found.float(), exact, **tolerance)


@rows
@dtypes
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_of_torch_equals_the_layer_it_is_made_of(rows: int, bias: bool, dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN packs no bfloat16 on this processor")
    layer = nn.Linear(48, 70, bias=bias).to(dtype)
    inputs = torch.randn(1, rows, 48, dtype=dtype)
    with torch.inference_mode():
        expected = layer(inputs)
        torch.testing.assert_close(OneDnnLinear(layer)(inputs), expected)


@libraries
@rows
@dtypes
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [48, 1024, 2600])
def test_layers_side_by_side_equal_each_of_them(
    library: Library, rows: int, bias: bool, dtype: torch.dtype, width: int
) -> None:
    """With outputs that do not fill a panel, rows that share cache lines, and weights read in several blocks."""
    layers = [nn.Linear(width, out, bias=bias).to(dtype) for out in (70, 32, 5)]
    inputs = torch.randn(1, rows, width).to(dtype)
    exact = torch.cat([layer.float()(inputs.float()) for layer in layers], dim=-1).detach()
    found = NativeLinear(library, [layer.to(dtype) for layer in layers], Arena())(inputs)
    assert found.shape == (1, rows, 107)
    close(found, exact)


@libraries
@rows
@dtypes
@pytest.mark.parametrize("gate", ACTIVATIONS)
def test_a_gated_layer_multiplies_the_activation_of_one_with_the_other(
    library: Library, rows: int, gate: Gate, dtype: torch.dtype
) -> None:
    one, other = (nn.Linear(64, 72).to(dtype) for _ in range(2))
    inputs = 3 * torch.randn(rows, 64).to(dtype)
    exact = (ACTIVATIONS[gate](one.float()(inputs.float())) * other.float()(inputs.float())).detach()
    close(NativeLinear(library, [one.to(dtype), other.to(dtype)], Arena(), gate)(inputs), exact)


@libraries
@dtypes
def test_a_row_gets_the_same_bits_whatever_stands_beside_it(library: Library, dtype: torch.dtype) -> None:
    layer = NativeLinear(library, [nn.Linear(1536, 96).to(dtype)], Arena())
    inputs = torch.randn(150, 1536).to(dtype)
    together = layer(inputs)
    for begin, end in ((0, 1), (3, 5), (20, 37), (140, 150)):
        assert torch.equal(layer(inputs[begin:end]), together[begin:end])


@libraries
@dtypes
@pytest.mark.parametrize("gate", [Gate.NONE, Gate.SILU])
def test_the_weights_come_back_as_they_were(library: Library, dtype: torch.dtype, gate: Gate) -> None:
    layers = [nn.Linear(48, 70).to(dtype) for _ in range(2)]
    before = [layer.weight.detach().clone() for layer in layers]
    packed = NativeLinear(library, layers, Arena(), gate)
    assert all(layer.weight is None for layer in layers)
    packed.give_back()
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(layers, before, strict=True))
    assert all(layer.weight.requires_grad and layer.weight.is_contiguous() for layer in layers)


@libraries
def test_each_line_of_columns_belongs_to_one_layer_or_none_is_told(library: Library) -> None:
    def lines(*widths: int, gate: Gate = Gate.NONE) -> list[int]:
        return NativeLinear(library, [nn.Linear(8, width) for width in widths], Arena(), gate).lines

    assert lines(32, 16, 20) == [0, 0, 1, 2, 2, 2]
    assert lines(20) == [0, 0]
    assert lines(40, 40, gate=Gate.SILU) == [0, 1, 0, 1, 0, 1]
    assert lines(24, 16) == []


@libraries
def test_the_library_leaves_alone_what_it_cannot_compute(library: Library) -> None:
    assert not takes(library, nn.Linear(64, 64).half())
    assert not takes(library, nn.Linear(63, 64).bfloat16())


def test_a_model_is_packed_and_unpacked_in_place() -> None:
    class Other(nn.Linear):
        """A subclass of nn.Linear, like the layers of quantized models."""

    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), Other(4, 4)), nn.Linear(4, 4).half())
    before, weights = dict(model.named_modules()), {name: value.clone() for name, value in model.state_dict().items()}
    substitutions = Substitutions(model)
    pack_linears(substitutions, model, None, Arena())
    assert len(substitutions) == 2
    assert [type(module).__name__ for module in model.modules() if not list(module.children())] == [
        "OneDnnLinear", "OneDnnLinear", "Other", "Linear",
    ]  # fmt: skip
    substitutions.undo()
    assert dict(model.named_modules()) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_bfloat16_stays_where_the_processor_has_no_packing_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    model = nn.Sequential(nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4))
    substitutions = Substitutions(model)
    pack_linears(substitutions, model, None, Arena())
    assert list(substitutions.names) == ["1"]
    with torch.inference_mode():
        assert model[0](torch.ones(1, 4, dtype=torch.bfloat16)).isfinite().all()


def test_memory_is_zero_aligned_and_freed_with_its_last_tensor() -> None:
    arena = Arena()
    first, second = arena.take(5, torch.float32), arena.take(300 << 20, torch.uint8)
    assert not first.any() and not second[:: 1 << 20].any()
    assert first.data_ptr() % 64 == second.data_ptr() % 64 == 0
    second[-1] = 7
    first += 1
    assert second[-1] == 7 and first.sum() == 5


class Listing(nn.Module):
    """Calls its layers from a plain list, which replacing a child does not change."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = [nn.Linear(16, 16)]
        self.add_module("0", self.plain[0])
        self.last = nn.Linear(16, 16)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.plain[0](inputs))


def test_layers_that_a_model_calls_by_a_list_stay() -> None:
    model, inputs = Listing(), torch.randn(3, 16)
    with torch.inference_mode():
        expected = model(inputs)
        substitutions = Substitutions(model)
        pack_linears(substitutions, model, None, Arena())
        assert list(substitutions.names) == ["last"]
        assert torch.allclose(model(inputs), expected, atol=1e-5)


class Reading(nn.Module):
    """Computes with the weight of one of its layers itself, and reads only the dtype of another's."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.read, self.looked_at = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.whole(inputs) @ self.read.weight.T + self.read.bias
        return self.looked_at(hidden.to(self.looked_at.weight.dtype))


@pytest.mark.parametrize("library", [None, *LIBRARIES.values()], ids=["torch alone", *LIBRARIES.keys()])
def test_layers_whose_weights_a_model_reads_are_put_back(library: Library | None) -> None:
    model = nn.Sequential(Reading(), Reading())
    inputs = torch.randn(3, 16)
    with torch.inference_mode():
        expected = model(inputs)
    substitutions = Substitutions(model)
    pack_linears(substitutions, model, library, Arena())
    assert len(substitutions) == 6
    with torch.inference_mode():
        while True:
            try:
                found = model(inputs)
                break
            except RuntimeError:
                assert substitutions.undo_read()
        torch.testing.assert_close(found, expected)
    assert set(substitutions.names) == {f"{i}.{name}" for i in (0, 1) for name in ("whole", "looked_at")}
    assert substitutions.undo_read()  # reading the dtype of its weight is allowed
    assert set(substitutions.names) == {"0.whole", "1.whole"}
    assert not substitutions.undo_read()
