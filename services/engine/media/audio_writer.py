"""Encodes a model's audio samples as bytes."""

import os
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from services.engine.media.audio_encoding import AudioEncoding

_FULL_SCALE = 32767
_FORMATS = {
    AudioEncoding.MULAW: ("RAW", "ULAW"),
    AudioEncoding.ALAW: ("RAW", "ALAW"),
    AudioEncoding.WAV: ("WAV", "PCM_16"),
    AudioEncoding.FLAC: ("FLAC", "PCM_16"),
    AudioEncoding.OGG_OPUS: ("OGG", "OPUS"),
    AudioEncoding.MP3: ("MP3", "MPEG_LAYER_III"),
}
"""libsndfile's names of each format and its sample type."""
_LOSSY = {AudioEncoding.OGG_OPUS, AudioEncoding.MP3}
_NEVER_EMPTY = {AudioEncoding.FLAC, AudioEncoding.OGG_OPUS, AudioEncoding.MP3}
"""File formats that cannot be opened if they hold no samples."""
_BLOCK = 8192
"""Samples given to an encoder at once: some keep a copy of them on the stack."""


class _Buffer:
    """A file in memory. `BytesIO` closes itself when it is forgotten, at times before the encoder that writes to it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._place = 0

    def write(self, data: bytes) -> int:
        end = self._place + len(data)
        self.data[self._place : end] = data
        self._place = end
        return len(data)

    def read(self, count: int = -1) -> bytes:
        found = bytes(self.data[self._place : None if count < 0 else self._place + count])
        self._place += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: len(self.data)}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def take(self) -> bytes:
        """Empties it and returns what was in it."""
        taken = bytes(self.data)
        self.data.clear()
        self._place = 0
        return taken


class AudioWriter:
    """Writes one channel, piece by piece. Samples beyond [-1, 1] are clipped."""

    def __init__(self, encoding: AudioEncoding, rate: int) -> None:
        """Writes at `rate` samples per second, which the encoding can hold."""
        self._encoding = encoding
        self._file = _Buffer()
        self._sound: soundfile.SoundFile | None = None
        self._empty = True
        if encoding in _FORMATS:
            kind, subtype = _FORMATS[encoding]
            file: Any = self._file
            self._sound = soundfile.SoundFile(file, "w", rate, 1, subtype=subtype, format=kind)

    def push(self, samples: NDArray[np.float32]) -> None:
        """Takes the samples that follow, `[samples]`."""
        kept = np.clip(samples, -1.0, 1.0)
        self._empty &= not len(kept)
        if self._encoding is AudioEncoding.FLOAT32:
            self._file.write(kept.astype("<f4", copy=False).tobytes())
            return
        # The same rounding in every lossless encoding, so that all of them hold the same audio.
        whole = kept if self._encoding in _LOSSY else np.rint(kept * _FULL_SCALE).astype("<i2")
        if self._sound is None:
            self._file.write(whole.tobytes())
            return
        for begin in range(0, len(whole), _BLOCK):
            self._sound.write(whole[begin : begin + _BLOCK])

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return len(self._file.data)

    def take(self) -> bytes:
        """Returns what was written since the last call, of a bare encoding."""
        if self._sound is not None:
            self._sound.flush()
        return self._file.take()

    def finish(self) -> bytes:
        """Ends the file and returns the whole of it. Nothing may follow.

        A file that could not be opened if it were empty holds one sample of silence then.
        """
        if self._empty and self._encoding in _NEVER_EMPTY:
            self.push(np.zeros(1, np.float32))
        if self._sound is not None:
            self._sound.close()
        return self._file.take()
