"""What becomes known of one call while it is served: what the log, the metrics and the traces tell of it.

Free of grpc, so that an engine can say how far it is with a request. Holds no content: no text, no media, no headers.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

_MOST = 32
"""An RPC of many texts, or an hour of live audio, is many requests to an engine: the first ones are enough to see."""

_EXEMPLAR_CHARACTERS = 64
"""Of the 128 that OpenMetrics leaves for names and values together."""


@dataclass(eq=False, slots=True)
class Timeline:
    """One request's way through an engine, on the clock of `time.monotonic`. Written by the engine, read by anyone."""

    accepted: float
    at_once: bool = False
    """Whether its output comes at once, with nothing to deliver before."""
    request_id: str = "-"
    """Of the call that it is for, as the log has it."""
    exemplar: dict[str, str] | None = None
    """What a measurement of it can be found by."""
    started: float | None = None
    """When the model first worked on it."""
    first_output: float | None = None
    """When there was something to deliver."""
    ended: float | None = None


class Phase(NamedTuple):
    """A part of a call, on the clock of `time.monotonic`."""

    name: str
    began: float
    ended: float


class Consumption(NamedTuple):
    """What one answered call consumed, as its response told."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    images: int = 0
    audio_seconds: float | None = None
    compute_seconds: float = 0.0
    """Time in which the model worked on it."""


@dataclass(eq=False, slots=True)
class CallRecord:
    """One call, from its arrival. Belongs to the event loop."""

    method: str
    request_id: str
    began: float = field(default_factory=time.monotonic)
    model: str = ""
    """Name of the served model; empty while it is unknown."""
    first_sent: float | None = None
    """When the first message of a stream was given to gRPC."""
    consumption: Consumption | None = None
    """None unless an answer told."""
    reason: str = ""
    """That of the error it ended with; empty where it is unknown, or there was none."""
    endpoint: str = ""
    """Where a gateway sent it last."""
    trace_id: str = ""
    """Of the trace it belongs to; empty if there is none."""
    sampled: bool = False
    """Whether that trace is recorded."""
    finish_reasons: tuple[str, ...] = ()
    phases: list[Phase] = field(default_factory=list[Phase])
    """What was done for it beside engines, in order of their ends."""
    timelines: list[Timeline] = field(default_factory=list[Timeline])
    """Its requests to an engine."""

    @property
    def exemplar(self) -> dict[str, str] | None:
        """What a measurement of this call can be found by: its trace, or its id; None where that is too long."""
        if self.sampled:
            return {"trace_id": self.trace_id}
        return {"request_id": self.request_id} if len(self.request_id) <= _EXEMPLAR_CHARACTERS else None


CALL_RECORD: ContextVar[CallRecord | None] = ContextVar("call_record", default=None)
"""Record of the call that the current task serves; None outside a call."""


def followed(accepted: float, *, at_once: bool = False) -> Timeline:
    """Returns the timeline of a request to an engine that is made for the current call."""
    record = CALL_RECORD.get()
    if record is None:
        return Timeline(accepted, at_once)
    timeline = Timeline(accepted, at_once, record.request_id, record.exemplar)
    if len(record.timelines) < _MOST:
        record.timelines.append(timeline)
    return timeline


@contextmanager
def phase(name: str) -> Generator[None]:
    """Takes what is done inside among the phases of the current call, however it ends."""
    record, began = CALL_RECORD.get(), time.monotonic()
    try:
        yield
    finally:
        if record is not None and len(record.phases) < _MOST:
            record.phases.append(Phase(name, began, time.monotonic()))
