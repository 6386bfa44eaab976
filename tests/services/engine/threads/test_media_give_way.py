import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import WhisperFeatureExtractor

from services.engine.admission import Admission, QueueLimits
from services.engine.audio import reader
from services.engine.audio.reader import AudioReader
from services.engine.listening.features import long_features
from services.engine.media import image, output_image
from services.engine.media.depth_map import depth_png
from services.engine.media.recording import AudioLimits
from services.engine.multimodal.kind import MediaKind
from services.engine.segmentation.region import Region
from services.engine.segmentation.semantic import semantic_regions
from services.engine.threads import turns
from services.engine.threads.preprocessing import AT_ONCE, Preprocessing
from services.engine.threads.turns import give_way, hold_much
from services.generation.ask import ShownMedium
from services.generation.generator_parts import GeneratorParts
from services.media.ask import MediaInput
from services.multimodal.chat.generate import MediaPrompts, MultimodalGenerator
from services.sent_media import SentMedia
from services.speech.recording_list import RecordingList
from services.vision.image_list import ImageList
from services.vision.segmentation.ask import MaskFormat
from services.vision.segmentation.encoded_regions import encoded_regions
from tests.sounds import encoded, sound

MANY = 40
SENT = [SentMedia(b"", "")] * MANY
INPUT = MediaInput(SENT, None, ())
LIMITS = AudioLimits(file_bytes=2**30, seconds=3600)


@pytest.fixture
def preprocessing() -> Iterator[Preprocessing]:
    made = Preprocessing(Admission(QueueLimits(requests=99)))
    yield made
    made.close()


class Quick:
    """Reads whatever it is given, without a look."""

    def read(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(length=1, kind=None)

    def decode(self, *_: Any) -> Any:
        return SimpleNamespace(samples=None, seconds=1.0)

    def process(self, _: Any) -> Any:
        return SimpleNamespace(length=1, kind=None)


QUICK: Any = Quick()
NONE: Any = None


def conversation() -> None:
    generator = MultimodalGenerator(GeneratorParts(NONE, NONE, NONE, NONE), MediaPrompts(QUICK, NONE, MANY))
    generator._media([ShownMedium(MediaKind.IMAGE, each, "image") for each in SENT], [], None)


def regions() -> None:
    found = (Region(place, None, np.ones((2, 2), np.bool_)) for place in range(MANY))
    encoded_regions(found, {}, MaskFormat.NONE, 10**6)


LISTS: dict[str, Callable[[], object]] = {
    "images": lambda: ImageList(QUICK, MANY, 10**6, 9).items(INPUT, []),
    "recordings": lambda: RecordingList(QUICK, MANY, 10**6, 9).items(INPUT, []),
    "conversation": conversation,
}
WORKS: dict[str, tuple[int, Callable[[], object]]] = {
    **{name: (MANY, work) for name, work in LISTS.items()},
    "a long recording": (5, lambda: AudioReader(WhisperFeatureExtractor(), LIMITS).decode(encoded(sound(20)), "")),
    "its features": (3, lambda: long_features(WhisperFeatureExtractor(), np.zeros(170 * 16_000, np.float32))),
    "masks": (MANY, lambda: list(semantic_regions(torch.eye(MANY).repeat(1, 8).reshape(MANY, MANY, 8), (64, 64)))),
    "regions": (MANY, regions),
}


@pytest.mark.parametrize("name", WORKS)
async def test_there_is_rest_between_parts(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rests: list[int] = []
    monkeypatch.setattr(turns, "TURN_SECONDS", -1.0)
    monkeypatch.setattr(turns.Turns, "pass_on", lambda _: rests.append(1))
    parts, work = WORKS[name]
    await preprocessing.run(work)
    assert len(rests) >= parts


@pytest.mark.parametrize("name", [*LISTS, "a long recording"])
async def test_what_holds_much_says_so(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told: list[int] = []
    monkeypatch.setattr(reader, "_LONG_SECONDS", 10)
    monkeypatch.setattr(turns.Turns, "enlarge", lambda _: told.append(1))
    await preprocessing.run(WORKS[name][1])
    assert told


async def test_little_passes_by_what_holds_much(preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", -1.0)
    passed = threading.Event()
    holding: list[int] = []
    most = 0

    def much() -> bool:
        nonlocal most
        hold_much()
        hold_much()
        holding.append(1)
        while not passed.wait(0.001):
            most = max(most, len(holding))
            give_way()
        holding.pop()
        return True

    found = await asyncio.gather(*(preprocessing.run(much) for _ in range(3 * AT_ONCE)), preprocessing.run(passed.set))
    assert found == [True] * 3 * AT_ONCE + [None]
    assert most <= AT_ONCE


async def test_what_is_given_up_ends_at_its_next_rest(preprocessing: Preprocessing) -> None:
    begun, ended = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                time.sleep(0.001)
                give_way()
        except CancelledError:
            ended.set()
            raise

    running = asyncio.ensure_future(preprocessing.run(long))
    await asyncio.to_thread(begun.wait)
    running.cancel()
    assert await asyncio.to_thread(ended.wait, 30)


def decoded(side: int) -> None:
    file = BytesIO()
    Image.new("RGB", (side, side)).save(file, "PNG")
    image.decode_image(file.getvalue(), "", image.ImageLimits(10**6, 10**6, 10**3))


ALONE: dict[str, Callable[[int], object]] = {
    "decoded": decoded,
    "made": lambda side: output_image.encode_image(np.zeros((side, side, 3), np.uint8)),
    "a depth map": lambda side: depth_png(np.zeros((side, side), np.float32)),
}


@pytest.mark.parametrize("work", ALONE.values(), ids=ALONE)
async def test_one_large_image_at_a_time(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch, work: Callable[[int], object]
) -> None:
    entered: list[int] = []

    @contextmanager
    def restless(_: object) -> Iterator[None]:
        entered.append(1)
        yield

    monkeypatch.setattr(turns.Turns, "restless", restless)
    monkeypatch.setattr(image, "_LARGE", 99)
    monkeypatch.setattr(output_image, "LARGE", 99)
    for side in (10, 9):
        await preprocessing.run(work, side)
    assert len(entered) == 1
