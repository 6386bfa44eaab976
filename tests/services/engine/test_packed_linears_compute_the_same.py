import pytest
import torch
from torch import nn

from services.engine.packing import PackedLinear, pack_linears


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_a_packed_layer_equals_the_layer_it_is_made_of(rows: int, bias: bool, dtype: torch.dtype) -> None:
    layer = nn.Linear(48, 70, bias=bias).to(dtype)
    inputs = torch.randn(1, rows, 48, dtype=dtype)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(layer)(inputs), layer(inputs))


def test_a_model_is_packed_and_unpacked_in_place() -> None:
    class Other(nn.Linear):
        """Such as the layers of quantized models."""

    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), Other(4, 4)), nn.Linear(4, 4).half())
    before = dict(model.named_modules())
    packing = pack_linears(model)
    assert len(packing) == 2
    assert [type(module).__name__ for module in model.modules() if not list(module.children())] == [
        "PackedLinear", "PackedLinear", "Other", "Linear",
    ]  # fmt: skip
    packing.undo()
    assert dict(model.named_modules()) == before
