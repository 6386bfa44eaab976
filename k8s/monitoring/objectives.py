"""What is promised to callers. Recording rules, burn alerts and boards take every figure from here."""

from dataclasses import dataclass

from k8s.monitoring.promql import BY_MODEL

OUR_FAULT = (
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
)
"""Codes that count against availability. All others but OK are the caller's own doing and do not count at all: a client
that sends nonsense neither spends the budget nor hides what others suffer."""

HOURS = ("5m", "30m", "1h", "2h", "6h")
DAYS = ("1d", "3d", "30d")
"""Windows over which good and bad events are counted; the last is the one the objectives are stated for."""

PERIOD = DAYS[-1]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A share of events, by model, that must be good over the period."""

    slo: str
    """Its name, in the label `slo`."""
    alert: str
    share: float
    """Of events that must be good, in (0, 1)."""
    promise: str
    """What a good event is, for people."""
    events: str
    """Events per second over WINDOW, by model."""
    bad: str
    """Bad events per second over WINDOW, by model; 0 where all are good."""
    threshold: float | None = None
    """Seconds that a good event takes at most, where it is about time."""

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.share, 10)


def _availability(share: float) -> Objective:
    def calls(codes: str) -> str:
        return (
            f'sum by ({BY_MODEL}) (rate(sensorium_gateway_requests_total{{task!="models", code=~"{codes}"}}[WINDOW]))'
        )

    bad = "|".join(OUR_FAULT)
    return Objective(
        slo="availability",
        alert="AvailabilityBurn",
        share=share,
        promise="calls that did not fail by our fault",
        events=calls(f"OK|{bad}"),
        bad=f"{calls(bad)}\nor 0 * {calls(f'OK|{bad}')}",
    )


def _latency(slo: str, alert: str, histogram: str, threshold: float, share: float, promise: str) -> Objective:
    """`threshold` is an edge of the histogram's buckets: anything else could not be counted. `promise` takes it in."""
    # Services export the same histogram without a model; the gateway's is what the caller saw.
    events = f'sum by ({BY_MODEL}) (rate({histogram}_count{{model!=""}}[WINDOW]))'
    good = f'sum by ({BY_MODEL}) (rate({histogram}_bucket{{model!="", le="{threshold}"}}[WINDOW]))'
    return Objective(
        slo=slo,
        alert=alert,
        share=share,
        promise=promise.format(threshold),
        events=events,
        bad=f"{events} - {good}",
        threshold=threshold,
    )


AVAILABILITY = _availability(0.995)
FIRST_TOKEN = _latency(
    "first_token",
    "FirstTokenBurn",
    "gen_ai_server_time_to_first_token_seconds",
    2.5,
    0.99,
    "streams whose first token came within {:g} s",
)
TOKEN_PACE = _latency(
    "token_pace",
    "TokenPaceBurn",
    "gen_ai_server_time_per_output_token_seconds",
    0.1,
    0.99,
    "streams whose tokens behind the first came every {:g} s or sooner, on average",
)
OBJECTIVES = (AVAILABILITY, FIRST_TOKEN, TOKEN_PACE)


def ratio(window: str) -> str:
    """Returns the recorded share of bad events over `window`, by model and objective."""
    return f"model:sensorium_slo_errors:ratio_rate{window}"


def errors(window: str) -> str:
    """Returns the recorded bad events per second over `window`, by model and objective."""
    return f"model:sensorium_slo_errors:rate{window}"


def events(window: str) -> str:
    """Returns the recorded events per second over `window`, by model and objective."""
    return f"model:sensorium_slo_events:rate{window}"
