"""Splits one stream's audio into utterances. The result does not depend on how the bytes were cut into messages."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.speech.live.endpointing import Began, Endpointer, Endpointing, Moment
from services.speech.live.intake import Intake, Samples
from services.speech.live.tape import Tape
from services.speech.live.utterance import Reach, Utterance
from services.speech.live.voice_detector import VoiceDetector
from services.speech.live.voice_network import FRAME, RATE, VoiceNetwork


@dataclass(frozen=True)
class Turn:
    """Speech began or ended."""

    utterance: Utterance
    began: bool
    seconds: float
    """Time from the start of the audio."""


class Hearing:
    """Takes bytes; returns beginnings and ends of speech with the utterances they belong to."""

    def __init__(
        self, intake: Intake, network: VoiceNetwork, endpointing: Endpointing, rate: int, reach: Reach
    ) -> None:
        """`rate` is the sample rate of what `intake` returns, and `reach` what the model reads at once, in samples."""
        self._intake = intake
        self._detector = VoiceDetector(network, rate)
        self._endpointer = Endpointer(endpointing)
        self._rate = rate
        self._reach = reach
        self._tape = Tape()
        self._frames = 0
        self._count = 0
        self._current: Utterance | None = None

    @property
    def seconds(self) -> float:
        """Length of the audio taken so far."""
        return self._intake.seconds

    @property
    def current(self) -> Utterance | None:
        """The open utterance."""
        return self._current

    def push(self, piece: bytes) -> Iterator[list[Turn]]:
        """Takes the next bytes and yields the turns of each block of a fraction of a second.

        Raises:
            BadAudio: the bytes cannot be decoded.
        """
        for samples in self._intake.push(piece):
            yield self._hear(samples)

    def end(self) -> list[Turn]:
        """Takes the end of the audio and returns the last turns.

        Raises:
            BadAudio: the audio ends within a sample.
        """
        turns = self._hear(self._intake.end())
        turns += self._frames_heard(self._detector.end())
        return turns + self._turns(self._endpointer.end())

    def _hear(self, samples: Samples) -> list[Turn]:
        self._tape.append(samples)
        turns = self._frames_heard(self._detector.push(samples))
        lookback = self._place(max(self._frames - self._endpointer.lookback, 0))
        needed = lookback if self._current is None else self._current.begin
        self._tape.forget(max(needed - self._reach.context, 0))
        return turns

    def _frames_heard(self, probabilities: list[float]) -> list[Turn]:
        turns: list[Turn] = []
        for probability in probabilities:
            self._frames += 1
            turns += self._turns(self._endpointer.hear(probability))
            if self._current is not None:
                self._current.end = self._place(self._endpointer.audio_until)
                self._current.settled = self._endpointer.settled
        return turns

    def _turns(self, moments: tuple[Moment, ...]) -> list[Turn]:
        return [self._turn(moment) for moment in moments]

    def _turn(self, moment: Moment) -> Turn:
        seconds = self._place(moment.speech) / self._rate
        if isinstance(moment, Began):
            uncut = _samples(self._endpointer.uncut, self._rate)
            self._current = Utterance(self._count, self._place(moment.audio), self._tape, self._reach, uncut)
            self._count += 1
            return Turn(self._current, began=True, seconds=seconds)
        utterance = self._current
        assert utterance is not None
        utterance.finish(self._place(moment.audio))
        self._current = None
        return Turn(utterance, began=False, seconds=seconds)

    def _place(self, frame: int) -> int:
        """Returns the sample at which a frame begins, limited to the audio: frames and resampling may round up."""
        return min(_samples(frame, self._rate), self._tape.end, self._intake.within)


def _samples(frames: int, rate: int) -> int:
    return frames * FRAME * rate // RATE
