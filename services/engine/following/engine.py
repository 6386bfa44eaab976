"""The engine of streaming recognizers: one thread owns the model and steps all ready utterances together."""

import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

import torch

from sensorium.errors import DeadlineExceeded, DeviceOutOfMemory, Internal, SensoriumError
from services.engine.admission import Admission, QueueLimits
from services.engine.audio.reader import FRAMES_PER_SECOND
from services.engine.device.faults import require_device
from services.engine.device.memory_errors import lacks_memory, let_go
from services.engine.following.model import FollowingModel, Written
from services.engine.following.seats import Seats
from services.engine.following.session import Session
from services.engine.following.stream import FollowingStream, Letter, Progress
from services.engine.generation.requests.request import Work
from services.engine.metrics import EngineMetrics
from services.engine.threads.engine import Engine

log = logging.getLogger(__name__)


class FollowingEngine(Engine):
    """`follow` is called on an event loop and returns at once; all else happens in the engine's thread.

    Live speech has priority over recordings: it has its own queue and may take a recording's row.
    """

    def __init__(self, model: FollowingModel, admission: Admission, metrics: EngineMetrics, most_live: int) -> None:
        """`admission` limits waiting recordings; `most_live` limits waiting utterances of live speech."""
        super().__init__("following-engine", admission, metrics)
        self.live = Admission(QueueLimits(most_live))
        self._model = model
        self._new: deque[Session] = deque()
        self._sent: deque[tuple[Session, Letter]] = deque()
        self._cancelled: deque[Session] = deque()
        self._seats = seats = Seats(model.rows, model.rate)
        metrics.requests_running.set_function(lambda: len(seats.seated))
        metrics.requests_waiting.set_function(lambda: admission.requests + self.live.requests)
        metrics.tokens_waiting.set_function(
            lambda: sum(each.heard for each in [*seats.standing] if each.due) * FRAMES_PER_SECOND // model.rate
        )

    def follow(self, deadline: float | None, work: Work, *, recorded: bool = False) -> FollowingStream:
        """Queues an utterance and returns its stream: samples in, tokens out. Adds compute time to `work`.

        A `recorded` utterance may lose its row to live speech; it is then computed again from its beginning.

        Raises what Admission.enter raises. The stream's methods raise that too, and:
            DeadlineExceeded: the deadline passed before the last token.
            DeviceOutOfMemory: a step did not fit into the device's memory.
            Internal: the model failed.
        """
        queue = self.admission if recorded else self.live
        queue.enter(1, deadline)
        stream = FollowingStream(
            send=lambda letter: self._thread.post(self._sent, (session, letter)),
            leave=lambda: self._thread.post(self._cancelled, session),
        )
        now = time.monotonic()
        session = Session(deadline, now, work, stream, queue, recorded, touched=now)
        if not self._thread.post(self._new, session):
            queue.leave(1, started=False)
            raise self._thread.farewell
        return stream

    def _loop(self) -> None:
        while not self._thread.closing:
            self._receive()
            self._thread.begin()
            try:
                worked = self._step()
            except Exception as error:
                if self._thread.gave_up(error):
                    break
                log.exception("The engine failed outside the model; all its utterances are ended")
                self._end_all(Internal())
                worked = True
            self._thread.busy_since = None
            if not worked:
                self._thread.wait(self._new, self._sent, self._cancelled, seconds=self._timeout())
        self._thread.end()
        self._receive()
        self._end_all(self._thread.farewell)

    def _receive(self) -> None:
        while self._new:
            self._seats.come(self._new.popleft())
        now = time.monotonic()
        updated: set[Session] = set()
        while self._sent:
            session, letter = self._sent.popleft()
            if not session.ended:
                session.take(letter)
                session.touched = now
                updated.add(session)
        while self._cancelled:
            self._end(self._cancelled.popleft(), "cancelled")
        for session in self._seats:
            if session.deadline is not None and now >= session.deadline:
                self._end(session, "deadline_exceeded", DeadlineExceeded("The deadline passed."))
        self._tell_idle(updated)

    def _tell_idle(self, sessions: Iterable[Session]) -> None:
        """Tells sessions that cannot go on how many samples they have processed, so that their readers know."""
        for session in sessions:
            if session.track is not None and not session.ended and not session.track.ready:
                _send(session, Progress(heard=session.heard))

    def _seat(self) -> None:
        """Gives rows to sessions with new audio, if need be rows of other sessions."""
        while (found := self._seats.next(time.monotonic())) is not None:
            session, row = found
            session.sit(self._model.track(row, session.written), row, time.monotonic())
            self._seats.sit(session)
            self._tell_idle([session])

    def _timeout(self) -> float | None:
        """Returns the seconds until the next deadline or idle timeout; None without any."""
        ends = [each.deadline for each in self._seats if each.deadline is not None]
        if (idle := self._seats.next_idle()) is not None:
            ends.append(idle)
        return max(min(ends) - time.monotonic(), 0.001) if ends else None

    @torch.inference_mode()
    def _step(self) -> bool:
        """Steps all sessions that have enough audio for a token. Returns whether there were any."""
        self._seat()
        ready = [session for session in self._seats.seated if session.track is not None and session.track.ready]
        ready.sort(key=lambda session: session.row)  # adjacent rows of the cache are read without a copy
        if not ready:
            return False
        began = time.monotonic()
        found = self._written(ready)
        now = time.monotonic()
        for session, written in found.items():
            session.work.add(began, now - began)
            self._note(session, written, now)
        if found:
            self._count(len(found), now - began)
        return True

    def _written(self, sessions: Sequence[Session]) -> dict[Session, Written]:
        """Returns the next token of each session. If a step fails it is repeated one by one, and failing ones end."""
        try:
            return dict(zip(sessions, self._model.step([session.track for session in sessions]), strict=True))
        except Exception as error:
            require_device(error)
            lacking = lacks_memory(error)
            if lacking:
                self._metrics.out_of_memory.inc()
                let_go(error)
            if len(sessions) == 1:
                self._fail(sessions[0], error, lacking)
                return {}
            log.warning("A step of %d utterances failed and is repeated one by one", len(sessions), exc_info=error)
        return {session: written for each in sessions for session, written in self._written([each]).items()}

    def _note(self, session: Session, written: Written, now: float) -> None:
        track = session.track
        assert track is not None
        session.touched = now
        session.timeline.first_output = session.timeline.first_output or now
        if not math.isfinite(written.log_probability):
            log.error(
                "The model's log-probability is NaN or infinite", extra={"request_id": session.timeline.request_id}
            )
            self._end(session, "error", Internal())
            return
        # A session that lost its row first repeats the tokens that were already sent.
        new = [written] if track.count > len(session.written) else []
        session.written += [each.token for each in new]
        self._metrics.generation_tokens.inc(len(new))
        _send(session, Progress(new, None if track.ready else session.heard))
        if track.done:
            self._complete(session, now)

    def _count(self, rows: int, seconds: float) -> None:
        self._metrics.steps.inc()
        self._metrics.batch_size.observe(rows)
        self._metrics.step_seconds.observe(seconds)
        self._metrics.busy_seconds.inc(seconds)

    def _fail(self, session: Session, error: Exception, lacking: bool) -> None:
        if lacking:
            failure = DeviceOutOfMemory("The device has not enough memory for a step of this speech.")
            self._end(session, "out_of_memory", failure)
        else:
            said = {"request_id": session.timeline.request_id}
            log.error("The model failed on an utterance", exc_info=error, extra=said)
            self._end(session, "error", Internal())

    def _complete(self, session: Session, now: float) -> None:
        times = session.times(now)
        self._metrics.completed("completed", times, 0, len(session.written), session.timeline.exemplar)
        self._leave(session)
        _send(session, Progress(end=times))

    def _end(self, session: Session, reason: str, error: SensoriumError | None = None) -> None:
        if session.ended:
            return
        session.part(started=False)
        self._metrics.requests.labels(reason).inc()
        self._leave(session)
        if error is not None:
            _send(session, Progress(end=error))

    def _end_all(self, error: SensoriumError) -> None:
        for session in self._seats:
            self._end(session, "error", error)

    def _leave(self, session: Session) -> None:
        session.ended = True
        session.timeline.ended = time.monotonic()
        self._seats.leave(session)
        session.pieces.clear()


def _send(session: Session, progress: Progress) -> None:
    """Delivers progress on the stream's event loop. If that loop is closed nobody reads, and it is dropped."""
    with suppress(RuntimeError):
        session.stream.loop.call_soon_threadsafe(session.stream.deliver, progress)
