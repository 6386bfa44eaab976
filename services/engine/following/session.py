"""One utterance, from its acceptance to its last token, as the engine sees it."""

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
    """Belongs to the engine's thread, but for the stream."""

    deadline: float | None
    """On the clock of `time.monotonic`, as all times here."""
    arrival: float
    work: Work
    stream: FollowingStream
    queue: Admission
    """Where it is counted while it waits for a row."""
    recorded: bool
    """Whether all of it was there when it came."""
    track: Track | None = None
    """Where it is, while it has a row."""
    row: int = -1
    pieces: list[Samples] = field(default_factory=list[Samples])
    """All that came, for one that has to begin anew."""
    heard: int = 0
    """Samples in them."""
    whole: bool = False
    """Whether no more will come."""
    written: list[int] = field(default_factory=list[int])
    due: bool = False
    """Whether there is something that no row has heard."""
    touched: float = 0.0
    """When something last came or was written."""
    seated: float = 0.0
    """When it got its row."""
    before: int = 0
    """Samples that had come by then."""
    counted: bool = True
    """Whether it is, in its queue."""
    yields: int = 0
    """Times that live speech went before it, or took its row, since no recording here came before it."""
    ended: bool = False

    def __post_init__(self) -> None:
        self.timeline = followed(self.arrival)

    def take(self, samples: Samples | None) -> None:
        """Takes the next samples, or their end."""
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
        """Takes note that there is something which no row has heard."""
        self.due = True
        if not self.counted:
            self.counted = True
            self.queue.come_back(1)

    def part(self, *, started: bool) -> None:
        """Waits no more."""
        if self.counted:
            self.counted = False
            self.queue.leave(1, started=started)

    def sit(self, track: Track, row: int, now: float) -> None:
        """Gives it a row, where it begins with all that came so far."""
        self.track, self.row = track, row
        self.seated, self.before = now, self.heard
        # Only what is new tells how fast those that wait get on: what begins anew was in their way before.
        self.part(started=self.timeline.started is None)
        self.timeline.started = now if self.timeline.started is None else self.timeline.started
        self._hand(track, [*self.pieces, *([None] if self.whole else [])])

    def rise(self) -> None:
        """Takes its row away."""
        self.track, self.row = None, -1

    def idle_since(self, rate: int) -> float:
        """Returns since when the model waits for it: nothing comes, or less than is spoken in the time."""
        return min(self.touched, self.seated + (self.heard - self.before) / rate)

    def _hand(self, track: Track, pieces: list[Samples | None]) -> None:
        for piece in pieces:
            if piece is None:
                track.end()
            else:
                track.push(piece)
        self.due = False

    def times(self, now: float) -> GenerationTimes:
        """Returns where the time went, of one that ends now."""
        return times_of(self.timeline, now, self.work.seconds)
