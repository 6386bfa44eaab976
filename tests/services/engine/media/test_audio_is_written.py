"""A model's sound as bytes: what is written is what is read back, and what is too loud is clipped, never wrapped."""

from io import BytesIO

import numpy as np
import pytest
import soundfile

from services.engine.media.audio_encoding import AudioEncoding, RateRefused, check_rate, media_type
from services.engine.media.audio_writer import AudioWriter

RATE = 16_000
TONE = (0.4 * np.sin(np.arange(RATE) * 0.1)).astype(np.float32)
BARE = [each for each in AudioEncoding if each.bare]
FILES = [each for each in AudioEncoding if not each.bare]


def written(encoding: AudioEncoding, sound: np.ndarray) -> bytes:
    """Returns sound written in pieces."""
    writer, taken = AudioWriter(encoding, RATE), b""
    for begin in range(0, len(sound), 3001):
        writer.push(sound[begin : begin + 3001])
        taken += writer.take() if encoding.bare else b""
    return taken if encoding.bare else writer.finish()


def bare_samples(encoding: AudioEncoding, data: bytes) -> np.ndarray:
    if encoding is AudioEncoding.FLOAT32:
        return np.frombuffer(data, "<f4")
    kind = {AudioEncoding.LINEAR16: "PCM_16", AudioEncoding.MULAW: "ULAW", AudioEncoding.ALAW: "ALAW"}[encoding]
    found, _ = soundfile.read(BytesIO(data), samplerate=RATE, channels=1, subtype=kind, format="RAW", endian="LITTLE")
    return found


@pytest.mark.parametrize(
    ("encoding", "error"),
    [
        (AudioEncoding.LINEAR16, 2**-15), (AudioEncoding.FLOAT32, 0), (AudioEncoding.MULAW, 0.02),
        (AudioEncoding.ALAW, 0.02), (AudioEncoding.WAV, 2**-15), (AudioEncoding.FLAC, 2**-15),
        (AudioEncoding.OGG_OPUS, 0.05), (AudioEncoding.MP3, 0.05),
    ],
)  # fmt: skip
def test_it_is_read_back(encoding: AudioEncoding, error: float) -> None:
    data = written(encoding, TONE)
    found, rate = (bare_samples(encoding, data), RATE) if encoding.bare else soundfile.read(BytesIO(data))
    assert (rate, len(found)) == (RATE, len(TONE))
    middle = slice(1000, -1000)  # codecs fade in and out
    assert np.abs(found - TONE)[middle].max() <= error


def test_lossless_encodings_hold_the_same_samples() -> None:
    expected = np.frombuffer(written(AudioEncoding.LINEAR16, TONE), "<i2")
    for encoding in (AudioEncoding.WAV, AudioEncoding.FLAC):
        assert np.array_equal(soundfile.read(BytesIO(written(encoding, TONE)), dtype="int16")[0], expected)


@pytest.mark.parametrize("encoding", FILES)
def test_a_file_of_nothing_can_be_opened(encoding: AudioEncoding) -> None:
    found, rate = soundfile.read(BytesIO(written(encoding, TONE[:0])))
    assert (rate, len(found)) == (RATE, int(encoding is not AudioEncoding.WAV))
    assert np.abs(found).sum() < 1e-9


def test_pieces_are_the_whole() -> None:
    for encoding in BARE:
        writer = AudioWriter(encoding, RATE)
        writer.push(TONE)
        assert writer.finish() == written(encoding, TONE)


@pytest.mark.parametrize("encoding", [each for each in AudioEncoding if each is not AudioEncoding.OGG_OPUS])
def test_what_is_too_loud_is_clipped(encoding: AudioEncoding) -> None:
    data = written(encoding, 4 * TONE)
    found = bare_samples(encoding, data) if encoding.bare else soundfile.read(BytesIO(data))[0]
    loud = np.abs(4 * TONE) > 1.2
    assert np.all(np.sign(found[loud]) == np.sign(TONE[loud])), "it was wrapped"
    assert 0.95 < np.abs(found).max() < 1.1


def test_silence_is_silence_by_the_tables_of_g711() -> None:
    assert written(AudioEncoding.MULAW, np.zeros(3, np.float32)) == b"\xff\xff\xff"
    assert written(AudioEncoding.ALAW, np.zeros(3, np.float32)) == b"\xd5\xd5\xd5"


def test_a_rate_that_a_format_has_no_number_for_is_refused() -> None:
    for encoding in AudioEncoding:
        check_rate(encoding, 24_000)
    check_rate(AudioEncoding.FLAC, 23_456)
    with pytest.raises(RateRefused, match="must be 8000, 12000, 16000, 24000 or 48000 in OGG_OPUS, not 22050"):
        check_rate(AudioEncoding.OGG_OPUS, 22_050)
    with pytest.raises(RateRefused, match="in MP3, not 23456"):
        check_rate(AudioEncoding.MP3, 23_456)


def test_media_types() -> None:
    assert media_type(AudioEncoding.LINEAR16, 8000) == "audio/l16;rate=8000;channels=1"
    assert media_type(AudioEncoding.MULAW, 8000) == "audio/pcmu;rate=8000;channels=1"
    assert [media_type(each, RATE) for each in FILES] == ["audio/wav", "audio/flac", "audio/ogg", "audio/mpeg"]
