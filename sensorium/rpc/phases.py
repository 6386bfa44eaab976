"""The parts of a call that has ended, as a trace shows them."""

import time
from collections.abc import Iterator

from sensorium.call_record import CallRecord, Timeline

Part = tuple[str, float, float]
"""Its name, and when it began and ended, on the clock of `time.monotonic`."""


def phases_of(record: CallRecord) -> Iterator[Part]:
    """Yields the parts of a call that ends now.

    Those beside engines have their own names, such as `preprocess` or a gateway's `queue`. A request to an engine is
    its `queue`, then its `prefill` until the first output and its `decode` behind it, or, where all comes at once, its
    `compute`. `delivery` is from the first message given to gRPC, or from the end of all computing, until the end.
    """
    now = time.monotonic()
    for phase in record.phases:
        yield phase.name, phase.began, phase.ended
    for line in record.timelines:
        yield from _within(line, now)
    delivered = record.first_sent or max((line.ended or now for line in record.timelines), default=now)
    if delivered < now:
        yield "delivery", delivered, now


def _within(line: Timeline, now: float) -> Iterator[Part]:
    """Yields the parts of one request; what has not ended, as of a call that was cancelled, ends now."""
    end = line.ended or now
    yield "queue", line.accepted, line.started or end
    if line.started is None:
        return
    if line.at_once:
        yield "compute", line.started, end
        return
    yield "prefill", line.started, line.first_output or end
    if line.first_output is not None:
        yield "decode", line.first_output, end
