"""One utterance in the engine, from admission to its last token."""

from dataclasses import dataclass, field

from sensorium.call_record import followed
from services.engine.admission import Admission
from services.engine.following.model import Track
from services.engine.following.stream import FollowingStream
from services.engine.generation.requests.request import GenerationTimes, Work
from services.engine.generation.requests.times import times_of
from services.engine.media.recording import Samples


@dataclass(eq=False)
class Session:
    """Belongs to the engine's thread, except for `stream`."""

    deadline: float | None
    """On the clock of `time.monotonic`, as all times here."""
    arrival: float
    work: Work
    stream: FollowingStream
    queue: Admission
    """The queue that counts it while it waits for a row."""
    recorded: bool
    """Whether it is a recording, whose audio arrives all at once."""
    track: Track | None = None
    """Its state in the model while it has a row."""
    row: int = -1
    pieces: list[Samples] = field(default_factory=list[Samples])
    """All audio so far, kept in case it loses its row."""
    heard: int = 0
    """Number of samples in `pieces`."""
    whole: bool = False
    """Whether its audio is complete."""
    written: list[int] = field(default_factory=list[int])
    due: bool = False
    """Whether it has audio that was not pushed to a track."""
    touched: float = 0.0
    """When audio last arrived or a token was last written."""
    seated: float = 0.0
    """When it got its row."""
    before: int = 0
    """Number of samples when it got its row."""
    counted: bool = True
    """Whether `queue` counts it now."""
    yields: int = 0
    """How often live speech went first or took its row while it was the oldest recording."""
    ended: bool = False

    def __post_init__(self) -> None:
        self.timeline = followed(self.arrival)

    def take(self, samples: Samples | None) -> None:
        """Takes the next samples; None is their end."""
        if samples is None:
            self.whole = True
        else:
            self.pieces.append(samples)
            self.heard += len(samples)
        if self.track is not None:
            self._hand(self.track, [samples])
        else:
            self.wait()

    def wait(self) -> None:
        """Marks that it waits for a row, and counts it in its queue."""
        self.due = True
        if not self.counted:
            self.counted = True
            self.queue.come_back(1)

    def part(self, *, started: bool) -> None:
        """Stops counting it in its queue."""
        if self.counted:
            self.counted = False
            self.queue.leave(1, started=started)

    def sit(self, track: Track, row: int, now: float) -> None:
        """Gives it a row and pushes all audio so far to the new track."""
        self.track, self.row = track, row
        self.seated, self.before = now, self.heard
        # Admission estimates the queue's speed from starts, so a session counts only when it starts first.
        self.part(started=self.timeline.started is None)
        self.timeline.started = now if self.timeline.started is None else self.timeline.started
        self._hand(track, [*self.pieces, *([None] if self.whole else [])])

    def rise(self) -> None:
        """Takes its row."""
        self.track, self.row = None, -1

    def idle_since(self, rate: int) -> float:
        """Returns since when it is idle: since its last audio or token, or since its audio fell behind real time."""
        return min(self.touched, self.seated + (self.heard - self.before) / rate)

    def _hand(self, track: Track, pieces: list[Samples | None]) -> None:
        for piece in pieces:
            if piece is None:
                track.end()
            else:
                track.push(piece)
        self.due = False

    def times(self, now: float) -> GenerationTimes:
        """Returns the timing of a session that ends now."""
        return times_of(self.timeline, now, self.work.seconds)
