"""espeak-ng as a library: speech, and when each word of it begins."""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SYNCHRONOUS, UTF8, WORD, END = 2, 1, 1, 5
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )  # fmt: skip


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


@dataclass
class Heard:
    """What the library has handed out of one text so far."""

    samples: list[NDArray[np.int16]] = field(default_factory=list)
    words: list[tuple[int, int]] = field(default_factory=list)
    """Place of a word in the text, and its first sample."""


class Espeak:
    """The library, which holds one voice at a time."""

    def __init__(self) -> None:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise SystemExit("This recipe needs espeak-ng (Debian: apt-get install espeak-ng flite).")
        self.library: Any = ctypes.CDLL(path)
        self.rate: int = self.library.espeak_Initialize(SYNCHRONOUS, 0, None, 0)
        self.heard = Heard()
        self.callback = Callback(self.take)
        self.library.espeak_SetSynthCallback(self.callback)

    def take(self, samples: Any, count: int, events: Any) -> int:
        """Takes a piece of speech and the events in it."""
        if samples and count:
            self.heard.samples.append(np.ctypeslib.as_array(samples, (count,)).copy())
        at = 0
        while events[at].type:
            if events[at].type == WORD:
                self.heard.words.append((events[at].text_position - 1, events[at].sample))
            at += 1
        return 0

    def speak(self, text: str, voice: str, speed: int, pitch: int, liveliness: int) -> Heard:
        """Speaks a text: `speed` in words a minute, `pitch` and its range from 0 to 99."""
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise SystemExit(f"This espeak-ng has no voice {voice}.")
        for parameter, value in ((RATE, speed), (PITCH, pitch), (RANGE, liveliness)):
            self.library.espeak_SetParameter(parameter, int(value), 0)
        self.heard = Heard()
        line = text.encode() + b"\0"
        self.library.espeak_Synth(line, ctypes.c_size_t(len(line)), 0, 1, 0, UTF8, None, None)
        return self.heard


@cache
def espeak() -> Espeak:
    """The library, begun once."""
    return Espeak()
