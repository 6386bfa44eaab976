"""Where the time of a request went, by its timeline."""

from sensorium.call_record import Timeline
from services.engine.generation.requests.request import GenerationTimes


def times_of(line: Timeline, now: float, compute: float, preprocess: float = 0.0) -> GenerationTimes:
    """Returns the times of a request that ends `now`, on the clock of `time.monotonic`."""
    started = now if line.started is None else line.started
    first = now if line.first_output is None else line.first_output
    return GenerationTimes(
        queue=started - line.accepted,
        preprocess=preprocess,
        time_to_first_output=first - line.accepted,
        compute=compute,
        total=now - line.accepted,
    )
