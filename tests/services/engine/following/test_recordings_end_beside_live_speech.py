"""A recording finishes beside any amount of live speech, which lacks one row at most. Without a real model."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from services.engine import admission
from services.engine.admission import Admission, QueueLimits
from services.engine.following.seats import MOST_YIELDS, Seats
from services.engine.following.session import Session
from services.engine.generation.requests.request import Work

LIVE = 10
"""Steps of one utterance of live speech."""


class Load:
    """Utterances whose audio is complete on arrival, with steps as the clock."""

    def __init__(self, rows: int) -> None:
        self.now = 0
        self.rows = rows
        self.seats = Seats(rows, rate=1)
        self.recordings = Admission(QueueLimits())
        self.live = Admission(QueueLimits())
        self.ended: dict[Session, int] = {}
        self.waits: list[int] = []
        """Waiting times of live speech, in steps."""
        self.foretold: dict[Session, float] = {}
        self.rows_of_live: list[int] = []
        self.displaced: dict[Session, int] = {}

    def come(self, steps: int, *, recorded: bool) -> Session:
        queue = self.recordings if recorded else self.live
        foretold = queue.expected_wait()
        queue.enter(1, None)
        own: Any = None
        session = Session(None, float(self.now), Work(), own, queue, recorded)
        session.take(np.zeros(steps, np.float32))
        session.take(None)
        self.seats.come(session)
        self.foretold[session] = foretold
        return session

    def step(self) -> None:
        before = {each for each in self.seats.seated if each.recorded}
        while (found := self.seats.next(self.now)) is not None:
            session, row = found
            session.sit(_track(), row, self.now)
            self.seats.sit(session)
            if not session.recorded:
                self.waits.append(self.now - int(session.arrival))
        for session in before - set(self.seats.seated):
            self.displaced[session] = self.displaced.get(session, 0) + 1
        self.rows_of_live.append(sum(not session.recorded for session in self.seats.seated))
        self.now += 1
        for session in [*self.seats.seated]:
            track: Any = session.track
            track.place += 1
            session.written.append(0)
            if track.place == session.heard:
                self.ended[session] = self.now
                self.seats.leave(session)

    def run(self, until: Callable[[], bool], each: Callable[[], object], most: int = 10_000) -> None:
        for _ in range(most):
            if until():
                return
            each()
            self.step()
        raise AssertionError(f"it has not come to that in {most} steps")


def _track() -> Any:
    return SimpleNamespace(place=0, ready=True, push=lambda _: None, end=lambda: None)


@pytest.fixture
def load_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Load]:
    def made(rows: int) -> Load:
        load = Load(rows)
        monkeypatch.setattr(admission, "time", SimpleNamespace(monotonic=lambda: load.now))
        return load

    return made


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_recordings_end_where_live_speech_would_fill_all_rows(load_of: Callable[[int], Load], rows: int) -> None:
    load = load_of(rows)

    def speak() -> None:
        while sum(not each.recorded for each in load.seats.standing) < 2 * rows:
            load.come(LIVE, recorded=False)

    load.run(lambda: load.now == 100, speak)
    recordings = [load.come(60, recorded=True) for _ in range(5)]
    load.run(lambda: all(each in load.ended for each in recordings), speak)
    ends = [load.ended[each] for each in recordings]
    assert ends == sorted(ends)
    assert ends[-1] - 100 <= 5 * (60 + (MOST_YIELDS + 1) * LIVE)
    assert min(load.rows_of_live[1:]) >= rows - 1


def test_a_recording_that_is_displaced_again_and_again_keeps_its_row_at_last(load_of: Callable[[int], Load]) -> None:
    load = load_of(1)
    recording = load.come(60, recorded=True)

    def speak() -> None:
        if load.now % 30 == 29:
            load.come(LIVE, recorded=False)

    load.run(lambda: recording in load.ended, speak)
    assert load.displaced[recording] == MOST_YIELDS
    assert load.waits[:MOST_YIELDS] == [0] * MOST_YIELDS
    assert max(load.waits) < 60


def test_live_speech_takes_rows_of_all_other_recordings_at_once(load_of: Callable[[int], Load]) -> None:
    load = load_of(4)
    recordings = [load.come(200, recorded=True) for _ in range(8)]

    def speak() -> None:
        if load.now % 15 == 14:
            for _ in range(3):
                load.come(LIVE, recorded=False)

    load.run(lambda: all(each in load.ended for each in recordings), speak)
    assert set(load.waits) == {0}


def test_a_recordings_wait_is_foretold_with_those_that_lost_their_rows(load_of: Callable[[int], Load]) -> None:
    load = load_of(1)

    def speak() -> None:
        if load.now % 20 == 19:
            load.come(LIVE, recorded=False)
        if load.now % 30 == 29 and len(load.seats.standing) < 4:
            load.come(20, recorded=True)

    load.run(lambda: load.now == 6000, speak)
    told = [
        (load.foretold[each], (each.timeline.started or 0.0) - each.arrival) for each in load.ended if each.recorded
    ]
    foretold, waited = np.mean(told[10:], axis=0)
    assert foretold == pytest.approx(waited, rel=0.2)
