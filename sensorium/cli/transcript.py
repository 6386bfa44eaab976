"""The events of a stream as they appear to a person."""

import shutil
import wave
from collections import defaultdict
from typing import Any, BinaryIO, TextIO

from google.protobuf.message import Message
from rich.cells import cell_len

from sensorium.cli import numbers
from sensorium.cli.descriptors import short_name
from sensorium.cli.messages import MessageText
from sensorium.cli.terminal import printable
from sensorium.v1.common_pb2 import Finish
from sensorium.v1.speech_pb2 import AUDIO_ENCODING_LINEAR16, SynthesisStarted


class Transcript:
    """Writes pieces of text to `out` at once, and pieces of audio to `file`, as a WAV file if told `as_wav`.

    Further candidates follow the first, as two texts at once cannot be read. On a `live` terminal interim
    transcriptions are shown and overwritten. Of text that is `parsed` the message is shown.
    """

    def __init__(
        self, out: TextIO, live: bool, file: BinaryIO | None, as_wav: bool = False, parsed: bool = False
    ) -> None:
        self._out = out
        self._live = live
        self._file = file
        self._as_wav = as_wav
        self._wav: wave.Wave_write | None = None
        self._parsed = parsed
        self._messages = defaultdict[int, MessageText](lambda: MessageText(live))
        self._others: defaultdict[int, str] = defaultdict(str)
        self._open = False
        self._completed: Any = None
        self.audio_bytes = 0
        """Bytes of audio that came, whether there was a file for them or not."""

    def take(self, event: Message) -> None:
        """Shows one event."""
        kind = event.WhichOneof("event")
        value: Any = getattr(event, kind) if kind else None
        match kind:
            case "started" if self._as_wav and getattr(value, "encoding", None) == AUDIO_ENCODING_LINEAR16:
                self._begin_wav(value)
            case "delta" if hasattr(value, "audio"):
                self._keep(value.audio)
            case "delta":
                self._say(value.candidate_index, self._told(value))
            case "result":
                self._transcribed(value)
            case "completed":
                self._completed = value
                for candidate in value.candidates if self._parsed else ():
                    self._say(candidate.candidate_index, self._told(candidate))
            case _:
                pass

    def _told(self, value: Any) -> str:
        """Returns what a delta, or the end of a candidate, has for a reader."""
        if self._parsed:
            return self._messages[value.candidate_index].add(value.message)
        return self._shown(value.text)

    def _shown(self, text: str) -> str:
        return printable(text) if self._live else text

    def _say(self, candidate: int, text: str) -> None:
        if candidate:
            self._others[candidate] += text
        else:
            self._write(text)

    def _begin_wav(self, started: SynthesisStarted) -> None:
        assert self._file is not None, "what is to be a WAV file has one"
        self._wav = wave.open(self._file, "wb")  # noqa: SIM115 - `end` closes it
        self._wav.setparams((started.channel_count, 2, started.sample_rate_hertz, 0, "NONE", ""))

    def _keep(self, audio: bytes) -> None:
        self.audio_bytes += len(audio)
        if self._file is None:
            return
        if self._wav is not None:
            # Writes the length into the head each time, so that a stream that breaks leaves a file that plays.
            self._wav.writeframes(audio)
            return
        self._file.write(audio)
        self._file.flush()

    def _transcribed(self, result: Any) -> None:
        if self._live:
            self._out.write("\r\x1b[K")
        if result.final:
            self._write(self._shown(result.text) + "\n")
        elif self._live:
            # A line that wraps could not be overwritten.
            self._write(_tail(self._shown(result.text), shutil.get_terminal_size().columns - 1))

    def _write(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._out.flush()
            self._open = not text.endswith("\n")

    def end(self) -> None:
        """Ends the last line, shows the candidates that waited, and completes the file."""
        if self._wav is not None:
            self._wav.close()
        for index, message in self._messages.items():
            self._say(index, message.end())
        self._finish_line()
        for index, text in sorted(self._others.items()):
            self._write(f"\n[{index}] {text}")
            self._finish_line()

    def _finish_line(self) -> None:
        if self._open:
            self._write("\n")

    def figures(self) -> list[str]:
        """Returns what the stream took and why it ended; empty where it was cut."""
        end = self._completed
        if end is None:
            return []
        reason = Finish.DESCRIPTOR.fields_by_name["reason"]
        if not hasattr(end, "candidates"):
            told = [short_name(reason, end.finish_reason)] if getattr(end, "finish_reason", 0) else []
            return [*numbers.consumption(end.usage, end.timing), *told]
        reasons = [short_name(reason, candidate.finish.reason) for candidate in end.candidates]
        return [*numbers.generation(end.usage, end.timing), ", ".join(dict.fromkeys(reasons))]


def _tail(text: str, width: int) -> str:
    """Returns the end of a text that fits into so many cells of a terminal."""
    if cell_len(text) <= width:
        return text
    begin = len(text)
    while begin and cell_len(text[begin - 1 :]) < width:
        begin -= 1
    return "…" + text[begin:]
