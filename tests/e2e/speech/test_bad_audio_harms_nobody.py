"""Recordings of all kinds through gateway and client: a correct answer, or every wrong one named by its index."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

from sensorium import DeadlineExceeded, InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2 as pb
from tests.e2e.stack import RunningStack, speech_stack
from tests.services.engine.media.test_recordings_are_refused import three_hours
from tests.sounds import Samples, encoded, media, sound
from tests.tiny.audio_models import write_audio_model

TOLERANCE = 2e-5
GOOD = sound(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audio_model(tmp_path_factory.mktemp("hubert"), "hubert", AutoModelForAudioClassification, num_labels=5)


def by_pipeline(folder: Path) -> Any:
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    return pipeline("audio-classification", model=str(folder), feature_extractor=extractor, dtype=torch.float32)


def equal(found: common.Classification, wanted: list[dict[str, Any]]) -> bool:
    scores = {label["label"]: label["score"] for label in wanted}
    return bool(np.allclose([scores[each.label] for each in found.labels], [each.score for each in found.labels],
                            atol=TOLERANCE))  # fmt: skip


async def classify(stack: RunningStack, *recordings: common.Media, **call: Any) -> pb.ClassifyAudioResponse:
    return await stack.client.speech.classify_audio(pb.ClassifyAudioRequest(recordings=recordings), **call)


@cache
def wrong_recordings() -> dict[str, tuple[common.Media, str]]:
    return {
        "nothing": (common.Media(), "has no data: send the recording's bytes"),
        "no bytes": (common.Media(data=b""), "is empty"),
        "a URI": (common.Media(uri="http://127.0.0.1/a.wav"), "is a URI, and this service fetches none"),
        "a path": (common.Media(uri="file:///etc/passwd"), "is a URI"),
        "a text": (common.Media(data=b"/etc/passwd"), "is no known audio"),
        "another type": (common.Media(mime_type="audio/flac", data=encoded(GOOD)), "is declared as 'audio/flac'"),
        "half a file": (common.Media(data=encoded(GOOD)[:9000]), "is cut off or damaged"),
        "no sound": (media(GOOD[:0]), "holds no samples"),
        "one sample": (media(GOOD[:1]), "is 6.25e-05 s long, and the model reads at least 0.02"),
        "not a number": (media(np.full(900, np.nan, np.float32)), "holds samples that are not numbers"),
        "three hours": (common.Media(data=three_hours()), "is 10800 s long or longer; at most 3600 s"),
        "a minute": (media(np.zeros(16_000 * 60, np.float32)), "is 60 s long, and the model reads at most 50 s"),
    }


async def test_everything_wrong_is_told_by_its_place_while_others_are_answered(folder: Path) -> None:
    good, (bad, reasons) = media(GOOD), zip(*wrong_recordings().values(), strict=True)
    wanted = by_pipeline(folder)(GOOD, top_k=5)
    async with speech_stack(folder, max_batch_seconds=50) as stack:
        answers = await asyncio.gather(
            *(classify(stack, good) for _ in range(4)),
            classify(stack, good, *bad, good),
            *(classify(stack, good) for _ in range(4)),
            return_exceptions=True,
        )
        refused = answers.pop(4)
        assert isinstance(refused, InvalidArgument)
        assert [each.field for each in refused.violations] == [f"recordings[{i + 1}]" for i in range(len(bad))]
        for violation, said in zip(refused.violations, reasons, strict=True):
            assert said in violation.description
        for answer in answers:
            assert isinstance(answer, pb.ClassifyAudioResponse)
            assert equal(answer.results[0], wanted)


async def test_every_kind_of_sound_is_read_as_the_reference_reads_it(folder: Path) -> None:
    busy = sound(1, rate=192_000, channels=8)
    bare = (sound(0.5, channels=2) * 32767).astype("<i2")
    kinds: dict[str, tuple[common.Media, Samples]] = {
        "192 kHz, 8 channels": (media(busy, 192_000), soxr.resample(busy.mean(1), 192_000, 16_000, quality="HQ")),
        "8 kHz": (media(sound(1, rate=8000), 8000), soxr.resample(sound(1, rate=8000), 8000, 16_000, quality="HQ")),
        "silence": (media(np.zeros(16_000, np.float32)), np.zeros(16_000, np.float32)),
        "clipping": (media(np.sign(GOOD)), np.sign(GOOD)),
        "louder than 1": (media(GOOD * 1000), GOOD * 1000),
        "as short as can be": (media(GOOD[:400]), GOOD[:400]),
        "bare": (
            common.Media(mime_type="audio/l16;rate=16000;channels=2", data=bare.tobytes()),
            (bare.mean(1) / 32768).astype(np.float32),
        ),
        "compressed": (common.Media(data=encoded(GOOD, 16_000, "FLAC", "PCM_24")), GOOD),
    }
    ask = by_pipeline(folder)
    async with speech_stack(folder) as stack:
        answer = await classify(stack, *(recording for recording, _ in kinds.values()))
        for (name, (_, samples)), found in zip(kinds.items(), answer.results, strict=True):
            assert equal(found, ask(samples, top_k=5)), name


async def test_none_or_more_than_may_wait_are_refused(folder: Path) -> None:
    async with speech_stack(folder, max_batch_items=8, max_queued_seconds=5) as stack:
        for count in (0, 9):
            with pytest.raises(InvalidArgument, match=f"recordings: must hold 1 to 8 items, not {count}"):
                await classify(stack, *[media(GOOD)] * count)
        with pytest.raises(
            InvalidArgument, match=r"recordings: come to more than may wait at once from recordings\[5\]"
        ):
            await classify(stack, *[media(GOOD)] * 8)


async def test_a_passed_deadline_ends_the_decoding(folder: Path) -> None:
    hour = common.Media(data=encoded(np.zeros(16_000 * 3000, np.float32), 16_000, "FLAC", "PCM_16"))
    async with speech_stack(folder) as stack:
        with pytest.raises(DeadlineExceeded):
            await classify(stack, *[hour] * 20, timeout=0.2)
        assert (await classify(stack, media(GOOD))).results
