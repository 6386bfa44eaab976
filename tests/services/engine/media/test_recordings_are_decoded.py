"""Every format, rate, width and number of channels gives the samples that were written."""

import struct
import zlib

import numpy as np
import pytest
import soxr

from services.engine.media import mp3, ogg
from services.engine.media.recording import AudioLimits, open_recording
from services.engine.media.resampling import Resampler
from tests.sounds import Samples, encoded, sound

LIMITS = AudioLimits(1 << 24, 60)
EXACT = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 24, "FLOAT": 24, "DOUBLE": 24}


def decoded(data: bytes, media_type: str = "") -> tuple[int, Samples]:
    recording = open_recording(data, media_type, LIMITS)
    return recording.rate, np.concatenate(list(recording.blocks()))


@pytest.mark.parametrize("subtype", EXACT)
def test_wav_of_every_width_is_exact(subtype: str) -> None:
    stereo = sound(5, rate=22_050, channels=2)
    rate, found = decoded(encoded(stereo, 22_050, "WAV", subtype), "audio/x-wav")
    assert rate == 22_050
    np.testing.assert_allclose(found, stereo.mean(1), atol=2.0 ** (1 - EXACT[subtype]))


@pytest.mark.parametrize(
    ("file_format", "subtype", "media_type", "error"),
    [
        ("FLAC", "PCM_16", "audio/flac", 2**-15),
        ("WAV", "ULAW", "audio/wav", 0.01),
        ("WAV", "ALAW", "", 0.01),
        ("OGG", "VORBIS", "audio/ogg", 0.02),
        ("OGG", "OPUS", "audio/opus", 0.03),
        ("MP3", "MPEG_LAYER_III", "audio/mpeg", 0.03),
    ],
)
def test_other_formats_sound_the_same(file_format: str, subtype: str, media_type: str, error: float) -> None:
    mono = sound(5)
    rate, found = decoded(encoded(mono, 16_000, file_format, subtype), media_type)
    assert (rate, len(found)) == (16_000, len(mono))
    assert np.sqrt(np.mean((found - mono) ** 2)) < error


def test_channels_are_mixed_and_rates_converted_as_in_one_piece() -> None:
    eight = sound(2, rate=192_000, channels=8)
    rate, mono = decoded(encoded(eight, 192_000))
    np.testing.assert_allclose(mono, eight.mean(1), atol=1e-6)
    resampler = Resampler(rate, 16_000)
    pieces = [resampler.push(mono[start : start + 999]) for start in range(0, len(mono), 999)]
    pieces.append(resampler.push(mono[:0], last=True))
    np.testing.assert_allclose(np.concatenate(pieces), soxr.resample(mono, rate, 16_000, quality="HQ"), atol=1e-6)


def test_bare_samples_are_what_their_type_says() -> None:
    stereo = (sound(1, channels=2) * 32767).astype("<i2")
    mono = stereo.mean(1) / 32768
    for data, kind in (
        (stereo.tobytes(), "audio/L16; rate=16000; channels=2"),
        (stereo.astype(">i2").tobytes(), "audio/l16;rate=16000;channels=2;endianness=big-endian"),
        ((stereo / 32768).astype("<f4").tobytes(), "audio/x-float32;rate=16000;channels=2"),
    ):
        rate, found = decoded(data, kind)
        assert rate == 16_000
        np.testing.assert_allclose(found, mono, atol=1e-6)
    law = encoded(sound(1, rate=8000), 8000, "WAV", "ULAW")
    bare = law[law.index(b"data") + 8 :]
    assert decoded(bare, "audio/pcmu")[0] == 8000
    np.testing.assert_array_equal(decoded(bare, "audio/pcmu")[1], decoded(law)[1])


def without_count(file: bytes) -> bytes:
    """Returns an MP3 file without its first frame, which holds the number of frames."""
    frame = mp3._frame(struct.unpack_from(">I", file)[0])
    assert frame is not None
    return file[frame.length :]


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1), (8_000, 2)])
def test_mp3_of_any_bit_rate_is_read_to_its_end(rate: int, channels: int) -> None:
    """Where no count comes first, the decoder alone would stop by what the first frame's bit rate lets it expect."""
    quiet = sound(10, rate=rate, channels=channels)
    quiet[: 5 * rate] *= 1e-4
    file = encoded(quiet, rate, "MP3", "MPEG_LAYER_III")
    tags = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10), b"TAG" + bytes(125)
    for data in (file, tags[0] + file + tags[1]):
        np.testing.assert_array_equal(decoded(data)[1], decoded(file)[1])
    for data in (without_count(file), tags[0] + without_count(file) + tags[1]):
        assert 0 <= len(decoded(data)[1]) - 10 * rate < 3 * 1152


def test_streamed_wav_ends_with_its_bytes() -> None:
    file = bytearray(encoded(sound(1)))
    place = file.index(b"data") + 4
    whole = decoded(bytes(file))[1]
    for unknown in (0xFFFF_FFFF, 0x7FFF_F000):
        file[place : place + 4] = struct.pack("<I", unknown)
        np.testing.assert_array_equal(decoded(bytes(file))[1], whole)


def test_checksum_of_pages_is_that_of_the_format() -> None:
    """By the definition: polynomial 0x04C11DB7, bit by bit."""
    page = encoded(sound(1), 16_000, "OGG", "VORBIS")[:58]
    value = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C1_1DB7 if value >> 31 else 0)) & 0xFFFF_FFFF
    assert value == struct.unpack_from("<I", page, 22)[0]
    assert ogg._is_sound(page)
    assert not ogg._is_sound(page[:-1] + bytes([page[-1] ^ 1]))
    assert zlib.crc32(page) != value
