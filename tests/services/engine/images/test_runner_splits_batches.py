from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from services.engine.batching.job import Item
from services.engine.images.reader import ModelInputs
from services.engine.images.runner import ImageRunner

BFLOAT16: Any = SimpleNamespace(device=torch.device("cpu"), model=SimpleNamespace(dtype=torch.bfloat16))


def test_each_item_gets_its_row_in_memory_of_its_own() -> None:
    seen: list[dict[str, Tensor]] = []

    def compute(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(batch)
        return {"sum": batch["pixel_values"].sum((1, 2)), "mask": batch["pixel_mask"]}

    items = [
        Item(ModelInputs({"pixel_values": torch.full((2, 3), float(i)), "pixel_mask": torch.tensor([i, 1])}))
        for i in range(3)
    ]
    outputs = ImageRunner(BFLOAT16, compute).run(items)
    # Floating-point inputs get the model's dtype; integers keep theirs.
    assert (seen[0]["pixel_values"].dtype, seen[0]["pixel_mask"].dtype) == (torch.bfloat16, torch.int64)
    assert seen[0]["pixel_values"].shape == (3, 2, 3)
    for i, output in enumerate(outputs):
        assert output["sum"].dtype == torch.float32
        assert (output["sum"].item(), output["mask"].tolist()) == (6.0 * i, [i, 1])
        assert output["mask"].untyped_storage().nbytes() == output["mask"].nbytes
