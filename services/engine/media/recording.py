"""From the bytes of a recording to its samples, within limits."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from services.engine.media import mp3, ogg, wav
from services.engine.media.audio_format import AudioFormat, check_declared, format_of
from services.engine.media.bare_format import BareFormat, bare_format
from services.engine.media.refusal import AudioRefused, Damaged

Samples = NDArray[np.float32]

RATES = range(4_000, 192_001)
"""Samples per second that are taken."""
CHANNELS = range(1, 9)
_BUSIEST = 192_000
"""Most samples per second over all channels, averaged over the longest recording."""
_LOUDEST = 2.0**32
"""Greatest absolute sample: far above full scale of any format, and small enough for sums of squares in float32."""
_BLOCK = 65_536
_UNKNOWN = 2**62
"""Lengths from here on mean that the file does not state its length."""


@dataclass(frozen=True)
class AudioLimits:
    """Limits of one recording: bytes of its file, and length in seconds."""

    file_bytes: int
    seconds: float


class Recording:
    """A recording with a valid header. `blocks` decodes its samples, once."""

    def __init__(self, file: soundfile.SoundFile, limits: AudioLimits) -> None:
        self._file = file
        self._limits = limits
        self.rate = int(file.samplerate)
        """Samples per second."""
        self.channels = int(file.channels)

    def blocks(self) -> Iterator[Samples]:
        """Yields the samples in order, all channels mixed into one.

        Raises:
            AudioRefused: It is longer than its header says, cut off or damaged, or has samples that are not finite or
                far too loud.
        """
        block = np.empty((_BLOCK, self.channels), np.float32)
        count = 0
        while len(found := self._next(block)):
            count += len(found)
            check_length(count, self.rate, self.channels, self._limits)
            # `not <` is also true for NaN.
            if not np.abs(found).max() < _LOUDEST:
                raise AudioRefused("holds samples that are not numbers, or out of all proportion to [-1, 1]")
            yield found.mean(1, dtype=np.float32) if self.channels > 1 else found[:, 0].copy()
        told = self._file.frames
        if told < _UNKNOWN and count != told:
            raise _damaged()
        if not count:
            raise AudioRefused("holds no samples: send a recording of some length")

    def _next(self, block: Samples) -> Samples:
        try:
            found: Any = self._file.read(out=block)
        except MemoryError:
            raise
        except Exception:  # decoders raise any kind of error for damaged files
            raise _damaged() from None
        return found


def open_recording(data: bytes, media_type: str, limits: AudioLimits) -> Recording:
    """Returns the recording, of which nothing is decoded yet. May be called from several threads.

    Args:
        data: the whole file: WAV, FLAC, OGG or MP3, by its bytes; or bare samples.
        media_type: what it was declared as, which it must be for bare samples; empty if nothing was.
        limits: what is accepted. They hold before memory is taken for samples.

    Raises:
        AudioRefused: it is too large or too long, of another format than accepted or declared, cut off or damaged.
    """
    if len(data) > limits.file_bytes:
        raise AudioRefused(
            f"has {len(data)} bytes; at most {limits.file_bytes} are accepted: send it compressed, or in parts"
        )
    bare = bare_format(media_type)
    file = _opened_file(data, media_type) if bare is None else _opened_samples(data, bare)
    recording = Recording(file, limits)
    _check_shape(recording)
    if file.frames < _UNKNOWN:
        check_length(file.frames, recording.rate, recording.channels, limits)
    return recording


def check_length(frames: int, rate: int, channels: int, limits: AudioLimits) -> None:
    """Refuses a recording of so many samples in each channel that is too long, or holds too many for its length."""
    if frames > limits.seconds * rate:
        raise AudioRefused(f"is {frames / rate:.6g} s long or longer; at most {limits.seconds:.6g} s are accepted")
    if frames * channels > limits.seconds * _BUSIEST:
        raise AudioRefused(
            f"holds {channels} channels of {rate} samples per second, too many for its length: send fewer"
        )


def _opened_file(data: bytes, media_type: str) -> soundfile.SoundFile:
    found = format_of(data)
    check_declared(media_type, found)
    try:
        if found is AudioFormat.WAV:
            wav.check_whole(data)
        elif found is AudioFormat.OGG:
            ogg.check_whole(data)
        elif found is AudioFormat.MP3:
            data = mp3.counted(data)
        return soundfile.SoundFile(BytesIO(data))
    except (AudioRefused, MemoryError):
        raise
    except (Damaged, IndexError, struct.error, soundfile.SoundFileError):
        raise _damaged() from None


def _opened_samples(data: bytes, bare: BareFormat) -> soundfile.SoundFile:
    if data.startswith((b"RIFF", b"fLaC", b"OggS", b"ID3")):
        raise AudioRefused("is declared as bare samples, but is a file: leave mime_type empty")
    _check_numbers(bare.rate, bare.channels)
    if len(data) % bare.frame_bytes:
        raise AudioRefused(f"ends within a sample: {len(data)} bytes are no multiple of {bare.frame_bytes}")
    if not data:
        raise AudioRefused("is empty")
    return soundfile.SoundFile(
        BytesIO(data), samplerate=bare.rate, channels=bare.channels, format="RAW", subtype=bare.samples,
        endian=bare.endian,
    )  # fmt: skip


def _check_shape(recording: Recording) -> None:
    _check_numbers(recording.rate, recording.channels)


def _check_numbers(rate: int, channels: int) -> None:
    if rate not in RATES:
        raise AudioRefused(f"has {rate} samples per second; from {RATES[0]} to {RATES[-1]} are accepted")
    if channels not in CHANNELS:
        raise AudioRefused(f"has {channels} channels; from {CHANNELS[0]} to {CHANNELS[-1]} are accepted")


def _damaged() -> AudioRefused:
    return AudioRefused("is cut off or damaged, or of a rare kind: send the whole file, or save it anew")
