"""The rows of a model that writes while it hears: who has one, and who gets the next."""

from collections.abc import Iterator

from services.engine.following.session import Session

IDLE_SECONDS = 5.0
"""An utterance that let the model wait so long gives up its row to one that waits; it begins anew when more comes."""
MOST_YIELDS = 3
"""Times that the oldest recording gives way to live speech. From then on it has the next row, and keeps it to its end:
it would never end where somebody always speaks. There is one such recording at a time, so live speech lacks one row."""


class Seats:
    """Belongs to the engine's thread."""

    def __init__(self, rows: int, rate: int) -> None:
        """Gives out so many rows; `rate` is how many samples are spoken in a second."""
        self.standing: list[Session] = []
        """Those without a row, in the order in which they get one."""
        self.seated: list[Session] = []
        self._recordings: list[Session] = []
        """All of them, as they came."""
        self._free = list(range(rows))
        self._rate = rate

    def __iter__(self) -> Iterator[Session]:
        return iter([*self.standing, *self.seated])

    def come(self, session: Session) -> None:
        """Takes in one that is new."""
        self.standing.append(session)
        if session.recorded:
            self._recordings.append(session)

    def next(self, now: float) -> tuple[Session, int] | None:
        """Returns who of those that stand gets a row, and which, if need be another's, who stands then."""
        elder = self._recordings[0] if self._recordings else None
        for waiting in self._due(elder):
            if self._free or self._displace(waiting, elder, now):
                if elder is not None and elder.due and not waiting.recorded:  # by now, as it may have lost its row
                    elder.yields += 1
                return waiting, self._free[0]
        return None

    def sit(self, session: Session) -> None:
        """Takes note that one who stood has a row."""
        self.standing.remove(session)
        self.seated.append(session)
        self._free.remove(session.row)

    def leave(self, session: Session) -> None:
        """Forgets one, wherever it is."""
        if session in self.seated:
            self._vacate(session)
        elif session in self.standing:
            self.standing.remove(session)
        if session in self._recordings:
            self._recordings.remove(session)

    def next_idle(self) -> float | None:
        """Returns when one whose model waits gives up its row, if somebody wants one; None if nobody does or will."""
        idle = [session.idle_since(self._rate) for session in self._idle()]
        return min(idle) + IDLE_SECONDS if idle and any(session.due for session in self.standing) else None

    def _due(self, elder: Session | None) -> Iterator[Session]:
        """Yields who may get a row next, first who is first: live speech before recordings, as a rule."""
        if elder is not None and elder.due and elder.yields >= MOST_YIELDS:
            yield elder
        for recorded in (False, True):
            yield from [each for each in self.standing if each.due and each.recorded is recorded][:1]

    def _displace(self, waiting: Session, elder: Session | None, now: float) -> bool:
        """Takes a row for one that waits. Returns whether there was one to be taken.

        It is that of whoever let the model wait longest, if that is long enough; else live speech takes that of the
        recording of which least was written, which goes on before the other ones.
        """
        session = min(self._idle(), key=lambda each: each.idle_since(self._rate), default=None)
        if session is not None and now - session.idle_since(self._rate) >= IDLE_SECONDS:
            self._vacate(session)
            self.standing.append(session)
            return True
        others = [each for each in self.seated if each.recorded and (each is not elder or each.yields < MOST_YIELDS)]
        if waiting.recorded or not others:
            return False
        session = min(others, key=lambda each: len(each.written))
        self._vacate(session)
        self.standing.insert(0, session)
        session.wait()
        return True

    def _idle(self) -> list[Session]:
        return [session for session in self.seated if session.track is not None and not session.track.ready]

    def _vacate(self, session: Session) -> None:
        self.seated.remove(session)
        self._free = sorted([*self._free, session.row])  # rows that adjoin are read without being copied
        session.rise()
