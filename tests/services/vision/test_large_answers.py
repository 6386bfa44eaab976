"""Very large results: their size is limited, and they are converted without blocking other calls."""

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.errors import InvalidArgument
from sensorium.v1 import vision_pb2 as pb
from services.engine.batching.answer import Answer, RequestTimes
from services.engine.detection.objects import FoundObject
from services.engine.images.reader import ImageInputs
from services.engine.media.masks import mask_of, run_lengths
from services.engine.segmentation.mode import SegmentationMode
from services.media.ask import MediaInput
from services.sent_media import SentMedia
from services.vision import servicer
from services.vision.detection.ask import DetectAsk
from services.vision.detection.detect_objects import ObjectDetector
from services.vision.detection.vocabularies import Sought
from services.vision.image_list import ImageList
from services.vision.room import Room
from services.vision.segmentation import conversion as segmentation_conversion
from services.vision.segmentation.ask import SegmentedImage, SegmentedRegion

NONE: Any = None
OBJECTS = 100


class Everywhere:
    """A Vocabulary that finds many objects of one label in every image."""

    takes_labels = True
    min_score = 0.0

    def sought(self, labels: Any, _wrong: Any) -> Sought:
        return Sought(labels, lambda *_: [FoundObject(0, 0.5, (1.0, 1.0, 9.0, 9.0))] * OBJECTS)


def found_in(images: int, message_bytes: int, top_k: int | None = None) -> list[Any]:
    reader: Any = SimpleNamespace(read=lambda *_: ImageInputs({"pixels": torch.zeros(1)}, 10, 10))
    vocabulary: Any = Everywhere()
    detector = ObjectDetector(NONE, vocabulary, ImageList(reader, 9, 99, 9), Room(message_bytes))
    sent = MediaInput(media=[SentMedia(b"", "")] * images, deadline=None, violations=())
    prepared = detector._prepare(DetectAsk(sent, ["dog"], 0.0, top_k))
    return list(prepared.finish([{}] * images))


def test_objects_are_as_many_as_a_message_holds() -> None:
    taken = (35 + len("dog")) * OBJECTS + 4096
    assert len(found_in(2, 2 * taken)) == 2
    assert len(found_in(3, taken, top_k=9)) == 3
    with pytest.raises(InvalidArgument) as refused:
        found_in(2, taken)
    assert [violation.field for violation in refused.value.violations] == ["min_score"]


@pytest.mark.parametrize("rpc", ["ClassifyImage", "DetectObjects", "SegmentImage"])
async def test_answers_become_messages_off_the_loop(monkeypatch: pytest.MonkeyPatch, rpc: str) -> None:
    verb = {"ClassifyImage": "classify", "DetectObjects": "detect", "SegmentImage": "segment"}[rpc]
    threads: list[threading.Thread] = []
    monkeypatch.setattr(servicer, f"{verb}_ask", lambda *_: None)
    monkeypatch.setattr(servicer, f"{verb}_response", lambda *_: threads.append(threading.current_thread()))

    async def answer(_: Any) -> None:
        return None

    able = SimpleNamespace(takes_labels=False, **{verb: answer})
    served: Any = SimpleNamespace(require=lambda _: None, identity=None)
    made = servicer.VisionServicer(served)
    verbs: Any = SimpleNamespace(classifier=able, detector=able, segmenter=able)
    made.verbs = verbs
    context = SimpleNamespace(time_remaining=lambda: None)
    await getattr(made, rpc)(getattr(pb, f"{rpc}Request")(), context)
    assert threads[0] is not threading.main_thread()


def test_long_masks_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation_conversion, "_CHUNK", 7)
    mask = np.random.default_rng(0).random((9, 11)) < 0.5
    region = SegmentedRegion("a", 0, None, (0, 0, 11, 9), int(mask.sum()), None, run_lengths(mask), None)
    found = SegmentedImage([region], SegmentationMode.SEMANTIC, width=11, height=9)
    response = segmentation_conversion.segment_response(Answer(found, RequestTimes(0, 0, 0, 0), 0, 1), NONE)
    (segment,) = response.segments
    assert (mask_of(segment.mask.run_length.run_lengths, 9, 11) == mask).all()
