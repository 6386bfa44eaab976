"""Samples of a stream equal those of a file bit by bit, wherever the stream is cut into pieces."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from services.speech.live.intake import BadAudio, Encoding, Intake

SUBTYPES = {
    Encoding.LINEAR16: "PCM_16",
    Encoding.FLOAT32: "FLOAT",
    Encoding.MULAW: "ULAW",
    Encoding.ALAW: "ALAW",
}


def taken(intake: Intake, data: bytes, sizes: Any) -> np.ndarray[Any, Any]:
    found, begin = [], 0
    for size in sizes:
        found += intake.push(data[begin : begin + size])
        begin += size
        if begin >= len(data):
            break
    return np.concatenate([*found, *intake.push(data[begin:]), intake.end()])


@pytest.mark.parametrize("encoding", Encoding)
def test_every_byte_stands_for_what_libsndfile_reads_in_it(encoding: Encoding) -> None:
    draws = np.random.default_rng(0)
    data = bytes(range(256)) * 16 + draws.bytes(4096)
    if encoding is Encoding.FLOAT32:
        data = draws.uniform(-1.5, 1.5, 2048).astype("<f4").tobytes()
    file = BytesIO(data)
    kind: dict[str, Any] = {"format": "RAW", "subtype": SUBTYPES[encoding], "endian": "LITTLE"}
    expected, _ = soundfile.read(file, samplerate=16_000, channels=1, dtype="float32", **kind)
    assert np.array_equal(taken(Intake(encoding, 16_000, 1, 16_000), data, []), expected)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(("rate", "channels", "wanted"), [(44_100, 2, 16_000), (8_000, 1, 16_000), (16_000, 3, 16_000)])
def test_samples_are_those_of_the_whole(encoding: Encoding, rate: int, channels: int, wanted: int) -> None:
    draws = np.random.default_rng(1)
    count = rate // 10
    values = draws.uniform(-0.9, 0.9, (count, channels))
    if encoding is Encoding.FLOAT32:
        data, whole = values.astype("<f4").tobytes(), values.astype(np.float32)
    else:
        data = draws.bytes(count * channels * encoding.width)
        whole = taken(Intake(encoding, rate, 1, rate), data, []).reshape(-1, channels)
    expected = soxr.resample(whole.mean(1, dtype=np.float32), rate, wanted, quality="HQ")
    for most in (2, 8, 500, 20_000):
        intake = Intake(encoding, rate, channels, wanted)
        sizes = draws.integers(0, most, 100_000)
        assert np.array_equal(taken(intake, data, sizes), expected)
        assert intake.seconds == count / rate


def test_audio_may_not_end_within_a_sample() -> None:
    intake = Intake(Encoding.LINEAR16, 16_000, 2, 16_000)
    list(intake.push(bytes(4 * 100 + 3)))
    with pytest.raises(BadAudio, match="3 bytes"):
        intake.end()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_sound_is_refused(value: float) -> None:
    intake = Intake(Encoding.FLOAT32, 16_000, 1, 16_000)
    samples = np.zeros(1000, "<f4")
    samples[700] = value
    with pytest.raises(BadAudio, match="not numbers"):
        list(intake.push(samples.tobytes()))
