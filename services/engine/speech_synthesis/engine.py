"""The engine of synthesizers: one thread owns the model, and requests take turns."""

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import DeadlineExceeded, DeviceOutOfMemory, Internal, SensoriumError, SlowConsumer
from services.engine.admission import Admission
from services.engine.device.faults import require_device
from services.engine.device.memory_errors import lacks_memory
from services.engine.metrics import EngineMetrics
from services.engine.speech_synthesis.speech import Rest, Speech, Step
from services.engine.speech_synthesis.stream import Sound, SpeechEnd, SpeechStream
from services.engine.threads.engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpeechLimits:
    """Limits of the engine."""

    speaking: int = 16
    """Requests that take turns; more wait until one ends or pauses far ahead of its reader. The limit also holds for
    requests within a sentence, each of which has a KV cache, when many readers return at once."""
    resting: int = 256
    """Requests that may pause for slow readers; each keeps unread audio. Beyond it, the one whose reader took nothing
    for longest is ended."""
    unread_samples: int = 160_000
    """Unread samples at which a request pauses after its sentence. Within a sentence it would keep the model's cache,
    which others need."""


class SpeechEngine(Engine):
    """Shares the model's time fairly: the request that has used the least of it gets the next step.

    `speak` is called on an event loop and returns at once; everything else happens in the engine's thread. Steps are
    not batched across requests, because rounding would make the audio depend on the other requests.
    """

    def __init__(self, admission: Admission, metrics: EngineMetrics, limits: SpeechLimits) -> None:
        super().__init__("speech-engine", admission, metrics)
        self._limits = limits
        self._new: deque[Speech] = deque()
        self._cancelled: deque[Speech] = deque()
        self._read: deque[tuple[Speech, int]] = deque()
        self._waiting: deque[Speech] = deque()
        self._speaking: list[Speech] = []
        self._turn = 0.0
        """`turn` of the request that had the last step."""
        metrics.requests_running.set_function(lambda: sum(not self._paused(speech) for speech in [*self._speaking]))

    def speak(self, steps: Iterator[Step], cost: int, deadline: float | None) -> SpeechStream:
        """Queues a request of `cost` tokens and returns the stream of its audio; for `steps` see Speech.

        Raises what Admission.enter raises. The stream raises that too, and:
            DeadlineExceeded: the deadline passed before the last piece.
            DeviceOutOfMemory: a step did not fit into the device's memory.
            Internal: the model failed.
            SlowConsumer: too many requests paused for slow readers, and this one's took nothing for longest.
        """
        self.admission.enter(cost, deadline)
        stream = SpeechStream(
            on_read=lambda samples: self._thread.post(self._read, (speech, samples)),
            on_cancel=lambda: self._thread.post(self._cancelled, speech),
        )
        speech = Speech(steps, cost, deadline, time.monotonic(), stream)
        self._thread.submit(self._new, speech, cost)
        return stream

    def _loop(self) -> None:
        while not self._thread.closing:
            self._receive()
            speech = self._next()
            if speech is None:
                self._thread.wait(self._new, self._cancelled, self._read, seconds=self._timeout())
                continue
            self._thread.begin()
            try:
                self._step(speech)
            except Exception as error:
                if self._thread.gave_up(error):
                    break
                log.exception("The engine failed outside the model; the request is ended")
                self._end(speech, "error", Internal())
            self._thread.busy_since = None
        self._thread.end()
        self._receive()
        for speech in [*self._waiting, *self._speaking]:
            self._end(speech, "error", self._thread.farewell)

    def _receive(self) -> None:
        now = time.monotonic()
        while self._new:
            self._waiting.append(self._new.popleft())
        while self._cancelled:
            self._end(self._cancelled.popleft(), "cancelled")
        while self._read:
            speech, samples = self._read.popleft()
            if self._paused(speech):  # it may not catch up on turns that it missed while paused
                speech.turn = max(speech.turn, self._turn)
            speech.unread -= samples
            speech.touched = now
        for speech in [*self._waiting, *self._speaking]:
            if speech.deadline is not None and now >= speech.deadline:
                self._end(speech, "deadline_exceeded", DeadlineExceeded("The deadline passed."))

    def _paused(self, speech: Speech) -> bool:
        return speech.resting and speech.unread >= self._limits.unread_samples

    def _timeout(self) -> float | None:
        """Returns the seconds until the next deadline; None without any."""
        ends = [speech.deadline for speech in self._speaking if speech.deadline is not None]
        return max(min(ends) - time.monotonic(), 0.001) if ends else None

    def _next(self) -> Speech | None:
        """Returns the request of the next step: a new one if there is room, else the one with the least time so far.

        While `speaking` requests are within a sentence, no request begins another one.
        """
        running = [speech for speech in self._speaking if not self._paused(speech)]
        amid = [speech for speech in running if not speech.resting]
        if len(amid) >= self._limits.speaking:
            running = amid
        elif self._waiting and len(running) < self._limits.speaking:
            speech = self._waiting.popleft()
            speech.turn = min((other.turn for other in running), default=self._turn)
            speech.timeline.started = time.monotonic()
            self.admission.leave(speech.cost, started=True)
            self._speaking.append(speech)
            return speech
        return min(running, key=lambda speech: speech.turn, default=None)

    @torch.inference_mode()
    def _step(self, speech: Speech) -> None:
        began, self._turn = time.monotonic(), speech.turn
        sound: Sound | SensoriumError | None
        try:
            made = next(speech.steps)
            speech.resting = isinstance(made, Rest)
            sound = None if isinstance(made, Rest) else _heard(made)
        except StopIteration as end:
            sound = None
            self._complete(speech, cut=bool(end.value))
        except Exception as error:
            sound = self._blame(error, speech)
        seconds = time.monotonic() - began
        speech.turn += seconds
        speech.compute += seconds
        self._metrics.steps.inc()
        self._metrics.batch_size.observe(1)
        self._metrics.step_seconds.observe(seconds)
        self._metrics.busy_seconds.inc(seconds)
        if isinstance(sound, SensoriumError):
            self._end(speech, "out_of_memory" if isinstance(sound, DeviceOutOfMemory) else "error", sound)
        elif sound is not None:
            speech.timeline.first_output = speech.timeline.first_output or time.monotonic()
            speech.unread += len(sound)
            _send(speech, sound)
        elif speech.resting:
            self._bound_resting()

    def _bound_resting(self) -> None:
        resting = [speech for speech in self._speaking if self._paused(speech)]
        if len(resting) > self._limits.resting:
            failure = f"More than {self._limits.resting} texts wait for slow readers. Read the stream faster."
            self._end(min(resting, key=lambda speech: speech.touched), "cancelled", SlowConsumer(failure))

    def _blame(self, error: Exception, speech: Speech) -> SensoriumError:
        require_device(error)
        if not lacks_memory(error):
            said = {"request_id": speech.timeline.request_id}
            log.error("The model failed on a sentence", exc_info=error, extra=said)
            return Internal()
        self._metrics.out_of_memory.inc()
        error.__traceback__ = None  # its frames hold tensors
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return DeviceOutOfMemory("The device has not enough memory for a sentence of this text.")

    def _complete(self, speech: Speech, *, cut: bool) -> None:
        times = speech.times(time.monotonic())
        self._metrics.completed("completed", times, speech.cost, 0, speech.timeline.exemplar)
        self._leave(speech)
        _send(speech, SpeechEnd(times, cut))

    def _end(self, speech: Speech, reason: str, error: SensoriumError | None = None) -> None:
        if speech.ended:
            return
        if speech.timeline.started is None:
            self.admission.leave(speech.cost, started=False)
        self._metrics.requests.labels(reason).inc()
        self._leave(speech)
        if error is not None:
            _send(speech, error)

    def _leave(self, speech: Speech) -> None:
        speech.ended = True
        speech.timeline.ended = time.monotonic()
        speech.steps = iter(())  # frees the model's caches now, even if somebody still holds the stream
        if speech in self._speaking:
            self._speaking.remove(speech)
        elif speech in self._waiting:
            self._waiting.remove(speech)


def _heard(sound: Tensor | None) -> Sound | None:
    """Copies audio to a numpy array.

    Raises:
        ArithmeticError: a sample is NaN or infinite.
    """
    if sound is None:
        return None
    numbers: Sound = sound.to("cpu", torch.float32).numpy().copy()
    if not np.isfinite(numbers).all():
        raise ArithmeticError("the model made NaN or infinite audio")
    return numbers


def _send(speech: Speech, event: Sound | SpeechEnd | Exception) -> None:
    """Delivers an event on the stream's event loop. If that loop is closed nobody reads, and it is dropped."""
    with suppress(RuntimeError):
        speech.stream.loop.call_soon_threadsafe(speech.stream.deliver, event)
