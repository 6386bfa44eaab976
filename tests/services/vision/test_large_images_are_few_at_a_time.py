from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from services.engine.images.reader import ImageInputs
from services.engine.segmentation.mode import SegmentationMode
from services.engine.segmentation.prompt import Prompt
from services.media.ask import MediaInput
from services.sent_media import SentMedia
from services.vision import large_images
from services.vision.depth.ask import DepthAsk
from services.vision.depth.estimate_depth import DepthEstimator
from services.vision.image_list import ImageList
from services.vision.room import Room
from services.vision.segmentation.ask import MaskFormat, SegmentAsk
from services.vision.segmentation.segment_image import ImageSegmenter
from services.vision.segmentation.segment_prompted import PromptedSegmenter
from services.vision.transformation.ask import TransformAsk
from services.vision.transformation.transform_image import ImageTransformer

NONE: Any = None
ROOM = Room(2**30)
SENT = MediaInput(media=[SentMedia(b"", "")], deadline=None, violations=())


def shown(side: int) -> ImageList:
    reader: Any = SimpleNamespace(read=lambda *_: ImageInputs({}, side, side))
    return ImageList(reader, 9, 9, 9)


def segment_ask(*prompts: Prompt) -> SegmentAsk:
    return SegmentAsk(SENT, None, prompts, False, MaskFormat.NONE, None, None, None)


def segmented(side: int) -> Any:
    model: Any = SimpleNamespace(modes=[SegmentationMode.SEMANTIC], inputs=lambda image, _: image)
    return ImageSegmenter(NONE, model, shown(side), {}, 9)._prepare(segment_ask())


def prompted(side: int) -> Any:
    return PromptedSegmenter(NONE, NONE, shown(side), 9)._prepare(segment_ask(Prompt([(1.0, 1.0)], [True])))


def depth(side: int) -> Any:
    return DepthEstimator(NONE, NONE, shown(side), ROOM)._prepare(DepthAsk(SENT, as_floats=False))


def transformed(side: int) -> Any:
    model: Any = SimpleNamespace(scale=2, check_sides=lambda image: None)
    return ImageTransformer(NONE, model, shown(side // 2), ROOM)._prepare(TransformAsk(SENT, None))


class Held(Exception):
    pass


@pytest.mark.parametrize("prepare", [segmented, prompted, depth, transformed])
def test_large_images_are_few_at_a_time(monkeypatch: pytest.MonkeyPatch, prepare: Callable[[int], Any]) -> None:
    """The masks, depth maps and new images of dozens of large images at once would take gigabytes."""

    def hold() -> None:
        raise Held

    monkeypatch.setattr(large_images, "hold_much", hold)
    with pytest.raises(Held):
        prepare(4000).finish([None])
    with pytest.raises((AttributeError, TypeError, KeyError)):  # there is no model that could have made anything
        prepare(400).finish([None])
