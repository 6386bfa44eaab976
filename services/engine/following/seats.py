"""Assigns the model's cache rows to utterances."""

from collections.abc import Iterator

from services.engine.following.session import Session

IDLE_SECONDS = 5.0
"""After this time without new audio an utterance loses its row if another one waits; its next audio computes it
again from its beginning."""
MOST_YIELDS = 3
"""How often the oldest recording yields to live speech. After that it gets the next row and keeps it to its end;
otherwise it might never finish. There is one such recording at a time, so live speech lacks one row at most."""


class Seats:
    """Sessions with and without rows. Belongs to the engine's thread."""

    def __init__(self, rows: int, rate: int) -> None:
        """`rows` is the number of rows, `rate` the sample rate in Hz."""
        self.standing: list[Session] = []
        """Sessions without a row, in the order in which they get one."""
        self.seated: list[Session] = []
        self._recordings: list[Session] = []
        """All recordings, in order of arrival."""
        self._free = list(range(rows))
        self._rate = rate

    def __iter__(self) -> Iterator[Session]:
        return iter([*self.standing, *self.seated])

    def come(self, session: Session) -> None:
        """Adds a new session."""
        self.standing.append(session)
        if session.recorded:
            self._recordings.append(session)

    def next(self, now: float) -> tuple[Session, int] | None:
        """Returns the next session to get a row, and the row; None if none can. May take the row of another session."""
        elder = self._recordings[0] if self._recordings else None
        for waiting in self._due(elder):
            if self._free or self._displace(waiting, elder, now):
                # Checked only now: `_displace` may have taken the elder's row, which makes it due.
                if elder is not None and elder.due and not waiting.recorded:
                    elder.yields += 1
                return waiting, self._free[0]
        return None

    def sit(self, session: Session) -> None:
        """Moves a session from `standing` to `seated`; its `row` is set."""
        self.standing.remove(session)
        self.seated.append(session)
        self._free.remove(session.row)

    def leave(self, session: Session) -> None:
        """Removes a session."""
        if session in self.seated:
            self._vacate(session)
        elif session in self.standing:
            self.standing.remove(session)
        if session in self._recordings:
            self._recordings.remove(session)

    def next_idle(self) -> float | None:
        """Returns when the next idle session may lose its row; None if none is idle or no other session waits."""
        idle = [session.idle_since(self._rate) for session in self._idle()]
        return min(idle) + IDLE_SECONDS if idle and any(session.due for session in self.standing) else None

    def _due(self, elder: Session | None) -> Iterator[Session]:
        """Yields candidates for the next row: the oldest recording if it yielded often, live speech, recordings."""
        if elder is not None and elder.due and elder.yields >= MOST_YIELDS:
            yield elder
        for recorded in (False, True):
            yield from [each for each in self.standing if each.due and each.recorded is recorded][:1]

    def _displace(self, waiting: Session, elder: Session | None, now: float) -> bool:
        """Takes a row from another session. Returns whether one could be taken.

        It is the row of the session that is idle longest, if long enough; else live speech takes the row of the
        recording with the fewest tokens, which then is the first to get one back.
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
        self._free = sorted([*self._free, session.row])  # low rows first, to keep rows in use adjacent
        session.rise()
