"""Decodes the recordings of a request one by one and collects everything that is wrong with them."""

import time
from dataclasses import dataclass

from sensorium.errors import DeadlineExceeded, Violation
from services.engine.audio.reader import FRAMES_PER_SECOND, AudioInputs, AudioReader
from services.engine.batching.job import Item
from services.engine.media.refusal import AudioRefused
from services.engine.threads.turns import give_way, hold_much
from services.media.ask import MediaInput
from services.media.media_list import ReadMedia
from services.sent_media import SentMedia


@dataclass(frozen=True)
class ReadRecording:
    """The model's inputs for one recording, and its length in seconds."""

    inputs: AudioInputs
    seconds: float


@dataclass(frozen=True)
class RecordingList:
    """Reads the request field `recordings`: 1 to `most` items, each of which the model reads in one pass."""

    reader: AudioReader
    most: int
    most_length: int
    """Limit on the sum of a request's `AudioInputs.length`, in frames of 20 ms."""
    longest: int
    """Limit on the `AudioInputs.length` of one recording."""
    field = "recordings"
    noun = "audio"

    def items(self, sent: MediaInput, wrong: list[Violation], *, fewest: int = 1) -> ReadMedia:
        """See MediaList."""
        items: list[Item] = []
        if not fewest <= len(sent.media) <= self.most:
            wrong.append(Violation("recordings", f"must hold {fewest} to {self.most} items, not {len(sent.media)}"))
            return ReadMedia(items)  # a wrong number of recordings is refused before any is decoded
        seconds = 0.0
        for i, recording in enumerate(sent.media):
            if i:  # several recordings hold much memory; `decode` sees to a single long one
                hold_much()
            give_way()
            if sent.deadline is not None and time.monotonic() > sent.deadline:
                raise DeadlineExceeded("The deadline passed while recordings were read.")
            if (read := self._read_one(recording, wrong, f"recordings[{i}]", sent.deadline)) is not None:
                items.append(Item(read.inputs, read.inputs.length, read.inputs.kind))
                seconds += read.seconds
            if sum(each.length for each in items) > self.most_length:
                wrong.append(
                    Violation("recordings", f"come to more than may wait at once from recordings[{i}] on; send fewer")
                )
                break
        return ReadMedia(items, audio_seconds=seconds)

    def _read_one(
        self, recording: SentMedia, wrong: list[Violation], field: str, deadline: float | None
    ) -> ReadRecording | None:
        if recording.wrong:
            wrong.append(Violation(field, recording.wrong))
            return None
        try:
            sound = self.reader.decode(recording.data, recording.media_type, deadline)
            inputs = self.reader.process(sound.samples)
        except AudioRefused as error:
            wrong.append(Violation(field, str(error)))
            return None
        if inputs.length > self.longest:
            most = self.longest / FRAMES_PER_SECOND
            wrong.append(Violation(field, f"is {sound.seconds:.6g} s long, and the model reads at most {most:.6g} s"))
            return None
        return ReadRecording(inputs, sound.seconds)
