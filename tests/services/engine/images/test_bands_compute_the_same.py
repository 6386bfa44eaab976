from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution
from transformers.models.swin2sr.modeling_swin2sr import Swin2SRLayer

from services.engine.acceleration.replacement import OnDevice
from services.engine.batching.wanted import Unwanted, asking
from services.engine.images import bands
from services.engine.images.bands import compute_by_bands

SIZES = [(1, 64, 40), (2, 40, 64), (1, 8, 8), (1, 8, 200), (1, 120, 24)]
"""Images, height and width."""


class Loaded:
    def __init__(self, side: int = 32) -> None:
        torch.manual_seed(0)
        sizes: dict[str, Any] = {"embed_dim": 12, "depths": [2, 3], "num_heads": [2, 3], "mlp_ratio": 2.0}
        self.model = Swin2SRForImageSuperResolution(Swin2SRConfig(image_size=side, window_size=8, **sizes)).eval()
        self.device = torch.device("cpu")
        for parameter in self.model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)

    @torch.inference_mode()
    def run(self, image: Tensor) -> Tensor:
        return self.model(pixel_values=image).reconstruction


@pytest.mark.parametrize("side", [32, 6], ids=["whole windows", "windows cut to the image size"])
def test_images_of_any_size_are_the_same(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    monkeypatch.setattr(bands, "_BAND_TOKENS", 1024)  # two rows of windows of 64 pixels
    loaded = Loaded(side)
    images = [torch.rand(count, 3, height, width) for count, height, width in SIZES]
    own = [loaded.run(image) for image in images]
    compute_by_bands(cast(OnDevice, loaded), lambda: [loaded.run(images[0])])
    assert all("forward" in vars(each) for each in loaded.model.modules() if isinstance(each, Swin2SRLayer))
    for image, expected in zip(images, own, strict=True):
        torch.testing.assert_close(loaded.run(image), expected, rtol=1e-5, atol=1e-6)


def test_bands_that_compute_something_else_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, image = Loaded(), torch.rand(1, 3, 64, 40)
    own = loaded.run(image)
    monkeypatch.setattr(bands, "_mask", lambda masks, rows, last: torch.cat([masks.chunk(2)[0]] * rows))
    compute_by_bands(cast(OnDevice, loaded), lambda: [loaded.run(image)])
    assert torch.equal(loaded.run(image), own)


def test_a_layer_is_left_between_two_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "_BAND_TOKENS", 320)
    loaded, image = Loaded(), torch.rand(1, 3, 64, 40)
    compute_by_bands(cast(OnDevice, loaded), lambda: [loaded.run(image)])
    asked: list[int] = []

    def third() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise Unwanted

    with pytest.raises(Unwanted), asking(third):
        loaded.run(image)
