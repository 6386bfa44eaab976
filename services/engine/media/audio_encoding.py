"""The encodings in which a model's audio can be returned: their names, media types and sample rates."""

from enum import Enum


class AudioEncoding(Enum):
    """An encoding, by its name in the contract."""

    LINEAR16 = "LINEAR16"
    FLOAT32 = "FLOAT32"
    MULAW = "MULAW"
    ALAW = "ALAW"
    WAV = "WAV"
    FLAC = "FLAC"
    OGG_OPUS = "OGG_OPUS"
    MP3 = "MP3"

    @property
    def bare(self) -> bool:
        """Whether it is raw samples, which can be streamed, rather than a file."""
        return self in _BARE


class RateRefused(Exception):
    """An encoding cannot hold audio of this rate. The message says so, as a violation's description does."""


_BARE = {
    AudioEncoding.LINEAR16: "audio/l16",
    AudioEncoding.FLOAT32: "audio/x-float32",
    AudioEncoding.MULAW: "audio/pcmu",
    AudioEncoding.ALAW: "audio/pcma",
}
_FILES = {
    AudioEncoding.WAV: "audio/wav",
    AudioEncoding.FLAC: "audio/flac",
    AudioEncoding.OGG_OPUS: "audio/ogg",
    AudioEncoding.MP3: "audio/mpeg",
}
_RATES = {
    AudioEncoding.OGG_OPUS: (8000, 12_000, 16_000, 24_000, 48_000),
    AudioEncoding.MP3: (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
"""Sample rates of formats that support only some; other formats take any."""


def check_rate(encoding: AudioEncoding, rate: int) -> None:
    """Returns if the encoding can hold audio of so many samples per second.

    Raises:
        RateRefused: it cannot.
    """
    if (rates := _RATES.get(encoding)) and rate not in rates:
        *most, last = map(str, rates)
        raise RateRefused(f"must be {', '.join(most)} or {last} in {encoding.value}, not {rate}")


def media_type(encoding: AudioEncoding, rate: int) -> str:
    """Returns the media type of one channel at so many samples per second."""
    if encoding.bare:
        return f"{_BARE[encoding]};rate={rate};channels=1"
    return _FILES[encoding]
