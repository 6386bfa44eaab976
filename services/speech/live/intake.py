"""Decodes the bytes of a stream and resamples them to the model's rate."""

from collections.abc import Iterator
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from services.engine.media.resampling import Resampler
from services.speech.live.g711 import A_LAW, MU_LAW

Samples = NDArray[np.float32]

_BLOCK_SECONDS = 0.25
_LOUDEST = 2.0**32
"""Larger than integer sample formats need, and small enough that float32 sums of squares do not overflow."""


class Encoding(Enum):
    """Encodings of raw samples. The values of the PCM ones are numpy dtypes."""

    LINEAR16 = "<i2"
    FLOAT32 = "<f4"
    MULAW = "mu"
    ALAW = "a"

    @property
    def width(self) -> int:
        """Bytes per sample."""
        return {"LINEAR16": 2, "FLOAT32": 4}.get(self.name, 1)


class BadAudio(Exception):
    """The bytes are no audio in the declared encoding. The message is a violation's description."""


class Intake:
    """Takes a stream's bytes in pieces of any size. The samples do not depend on where the bytes were cut."""

    def __init__(self, encoding: Encoding, rate: int, channels: int, wanted: int) -> None:
        """Takes interleaved samples at `rate` Hz in each of `channels`; returns mono samples at `wanted` Hz."""
        self._encoding = encoding
        self._rate = rate
        self._channels = channels
        self._wanted = wanted
        self._resampler = Resampler(rate, wanted)
        self._rest = b""
        self._frames = 0

    @property
    def seconds(self) -> float:
        """Length of the audio taken so far, in seconds."""
        return self._frames / self._rate

    @property
    def within(self) -> int:
        """Number of output samples within the audio taken so far; resampling may round the very last one up."""
        return self._frames * self._wanted // self._rate

    def push(self, piece: bytes) -> Iterator[Samples]:
        """Yields the samples that a piece completes, `[n]` float32, in blocks of about a quarter of a second at most.

        Raises:
            BadAudio: a sample is NaN, infinite, or far outside [-1, 1].
        """
        width = self._encoding.width * self._channels
        block = max(int(self._rate * _BLOCK_SECONDS), 1) * width
        begin = 0
        if self._rest:
            begin = min(width - len(self._rest), len(piece))
            self._rest += piece[:begin]
            if len(self._rest) < width:
                return
            yield self._samples(self._rest)
        whole = begin + (len(piece) - begin) // width * width
        self._rest = piece[whole:]
        for start in range(begin, whole, block):
            yield self._samples(piece[start : min(start + block, whole)])

    def end(self) -> Samples:
        """Returns the last samples, which the resampler held back.

        Raises:
            BadAudio: the audio ends within a sample.
        """
        if self._rest:
            raise BadAudio(f"ended within a sample: {len(self._rest)} bytes are left over")
        return self._resampler.push(np.empty(0, np.float32), last=True)

    def _samples(self, data: bytes) -> Samples:
        samples = self._decoded(data)
        if self._channels > 1:
            samples = samples.reshape(-1, self._channels).mean(1, dtype=np.float32)
        self._frames += len(samples)
        return self._resampler.push(samples)

    def _decoded(self, data: bytes) -> Samples:
        match self._encoding:
            case Encoding.MULAW:
                return MU_LAW[np.frombuffer(data, np.uint8)]
            case Encoding.ALAW:
                return A_LAW[np.frombuffer(data, np.uint8)]
            case Encoding.LINEAR16:
                return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32_768)
            case Encoding.FLOAT32:
                samples = np.frombuffer(data, "<f4").astype(np.float32)
                # Written so that NaN, which compares as false with everything, is refused.
                if not np.abs(samples).max() < _LOUDEST:
                    raise BadAudio("holds samples that are not numbers, or out of all proportion to [-1, 1]")
                return samples
