from types import SimpleNamespace
from typing import Any

import pytest
import torch

from services.engine.checkpoint import ModelRefused
from services.engine.images.depth import DepthMaps
from services.engine.images.reader import ImageInputs

IMAGE = ImageInputs({}, width=3, height=2)
OUTPUT = {"predicted_depth": torch.arange(6.0).reshape(2, 3)}


def maps(post_process: Any, **config: Any) -> DepthMaps:
    loaded: Any = SimpleNamespace(
        model=None,
        processor=SimpleNamespace(post_process_depth_estimation=post_process),
        config=SimpleNamespace(**{"model_type": "dpt", **config}),
    )
    return DepthMaps(loaded)


def test_the_processor_is_told_the_size_of_the_image() -> None:
    sizes = []

    def post_process(outputs: Any, size: list[tuple[int, int]]) -> list[dict[str, Any]]:
        sizes.append(size)
        return [{"predicted_depth": outputs.predicted_depth[0].squeeze()}]

    assert maps(post_process).of(OUTPUT, IMAGE).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert sizes == [[(2, 3)]]


def test_what_needs_libraries_that_are_not_installed_is_refused_at_load() -> None:
    """Like ZoeDepth's processor without the replacement for torchvision."""

    def post_process(*_: Any) -> None:
        raise NameError("name 'tvF' is not defined")

    with pytest.raises(ModelRefused, match="not installed: name 'tvF'"):
        maps(post_process).check(OUTPUT, IMAGE)
