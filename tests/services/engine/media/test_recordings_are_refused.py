"""What is no whole recording within the limits is refused in words, and takes neither memory nor minutes."""

import struct
import time
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
import soundfile

from services.engine.media.recording import AudioLimits, open_recording
from services.engine.media.refusal import AudioRefused
from tests.sounds import encoded, sound

LIMITS = AudioLimits(8 << 20, 60)
NOISE = sound(3, channels=2)


def read(data: bytes, media_type: str = "", limits: AudioLimits = LIMITS) -> int:
    return sum(map(len, open_recording(data, media_type, limits).blocks()))


FORMATS = {
    "WAV": encoded(NOISE, 16_000, "WAV", "PCM_16"),
    "FLAC": encoded(NOISE, 16_000, "FLAC", "PCM_16"),
    "VORBIS": encoded(NOISE, 16_000, "OGG", "VORBIS"),
    "OPUS": encoded(NOISE, 16_000, "OGG", "OPUS"),
    "MP3": encoded(NOISE, 16_000, "MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_anywhere_is_refused(name: str) -> None:
    file = FORMATS[name]
    assert read(file) == len(NOISE)
    for length in (len(file) - 1, len(file) * 2 // 3, len(file) // 2, 2000, 100, 60, 30, 13):
        with pytest.raises(AudioRefused, match="is cut off or damaged"):
            read(file[:length])


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_refused_or_heard_but_never_more(name: str) -> None:
    file, random = bytearray(FORMATS[name]), np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        damaged = file.copy()
        place = random.integers(4, len(file) - 20)
        damaged[place : place + 20] = random.bytes(20)
        try:
            assert read(bytes(damaged)) <= 60 * 192_000
        except AudioRefused:
            refused += 1
    # Samples of WAV are whatever is written, and so is most of what MP3 keeps.
    assert refused == 40 or name in {"WAV", "MP3"}


def test_bytes_of_any_kind_are_refused() -> None:
    random = np.random.default_rng(0)
    for start in (b"", b"RIFF\x10\0\0\0WAVE", b"fLaC", b"OggS", b"ID3\x04\0", b"\xff\xfb\x90\x64", b"\xff\xe3"):
        for size in (0, 1, 7, 40, 5000):
            with pytest.raises(AudioRefused):
                read(start + random.bytes(size).replace(b"\xff", b"\0"))


@pytest.mark.parametrize(
    ("data", "media_type", "said"),
    [
        (b"", "", "is empty"),
        (b"", "audio/l16;rate=16000", "is empty"),
        (FORMATS["WAV"], "audio/flac", "is declared as 'audio/flac', but its bytes are audio/wav"),
        (FORMATS["WAV"], "image/png", "is declared as 'image/png'"),
        (FORMATS["WAV"], "audio/l16;rate=16000", "is declared as bare samples, but is a file"),
        (b"\0\0\0\x20ftypM4A ", "", "is an M4A or MP4 file; accepted are WAV, FLAC, OGG"),
        (b"FORM\0\0\0\0AIFF", "", "is an AIFF file"),
        (b"\xff\xf1\x50\x80", "", "is an AAC file"),
        (b"  UklGRi4AAABXQVZF", "", "is base64 text"),
        (b"hello", "", "is no known audio"),
        (b"abc", "audio/l16;rate=16000", "ends within a sample: 3 bytes"),
        (b"abcd", "audio/l16", "without a number as rate"),
        (b"abcd", "audio/l16;rate=x", "without a number as rate"),
        (b"abcd", "audio/l16;rate=16000;channels=9", "has 9 channels"),
        (b"abcd", "audio/l16;rate=300", "has 300 samples per second; from 4000 to 192000"),
        (b"abcd", "audio/l16;rate=16000;bits=8", "is declared with 'bits'"),
        (b"abcd", "audio/l16;rate=16000;endianness=odd", "has another endianness"),
        (encoded(NOISE[:0]), "", "holds no samples"),
        (encoded(np.zeros((100, 9), np.float32)), "", "has 9 channels; from 1 to 8"),
        (encoded(NOISE, 200_000), "", "has 200000 samples per second"),
        (encoded(NOISE, 1_000), "", "has 1000 samples per second"),
        (encoded(np.array([0, np.nan, 0], np.float32)), "", "holds samples that are not numbers"),
        (encoded(np.array([0, np.inf, 0], np.float32)), "", "holds samples that are not numbers"),
        (encoded(np.array([0, 1e20, 0], np.float32)), "", "out of all proportion"),
        (FORMATS["OPUS"] + FORMATS["OPUS"], "", "holds several streams"),
        (bytes(LIMITS.file_bytes + 1), "", "has 8388609 bytes; at most 8388608"),
        (encoded(np.zeros(61 * 4000, np.float32), 4000), "", "is 61 s long or longer; at most 60 s"),
        (encoded(np.zeros((28_800, 8), np.float32), 32_000, "FLAC", "PCM_16"), "", "holds 8 channels of 32000"),
    ],
)  # fmt: skip
def test_every_refusal_says_what_is_wrong(data: bytes, media_type: str, said: str) -> None:
    limits = AudioLimits(LIMITS.file_bytes, 1) if "8 channels of" in said else LIMITS
    with pytest.raises(AudioRefused) as caught:
        read(data, media_type, limits)
    assert said in str(caught.value)


def three_hours() -> bytes:
    file, hour = BytesIO(), np.zeros(4_000 * 3600, np.int16)
    with soundfile.SoundFile(file, "w", 4_000, 1, format="FLAC", subtype="PCM_16") as writer:
        for _ in range(3):
            writer.write(hour)
    return file.getvalue()


@pytest.mark.usefixtures("uncollected")  # the collector would look at all that other tests have left, in this time
def test_three_hours_in_few_bytes_take_neither_memory_nor_minutes() -> None:
    """Whether the head tells of them or not, and whatever else it tells."""
    file = three_hours()
    assert len(file) < 1 << 20
    silent = bytearray(file)
    # The number of samples is the last 36 of 64 bits in STREAMINFO; 0 stands for one that is not known.
    (packed,) = struct.unpack_from(">Q", file, 18)
    struct.pack_into(">Q", silent, 18, packed >> 36 << 36)
    limits = AudioLimits(LIMITS.file_bytes, 600)
    for data, longest in ((file, "is 10800 s long"), (bytes(silent), "is 60")):
        tracemalloc.start()
        began = time.thread_time()
        with pytest.raises(AudioRefused, match=longest):
            read(data, "", limits)
        assert time.thread_time() - began < 2
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()
