"""The service level objectives. Recording rules, burn alerts and boards take every figure from here."""

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
"""gRPC codes that count against availability. The others (except OK) are caused by the caller and are not counted, so
that a client's invalid requests neither use up the budget nor hide failures of others."""

HOURS = ("5m", "30m", "1h", "2h", "6h")
DAYS = ("1d", "3d", "30d")
"""Windows over which events are counted. The last one is the period of the objectives."""

PERIOD = DAYS[-1]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A fraction of events, per model, that must be good over the period."""

    slo: str
    """Its name, in the label `slo`."""
    alert: str
    share: float
    """Fraction of events that must be good, in (0, 1)."""
    promise: str
    """Text that says what a good event is."""
    events: str
    """PromQL: events per second over WINDOW, by model."""
    bad: str
    """PromQL: bad events per second over WINDOW, by model; 0 (not absent) if all are good."""
    threshold: float | None = None
    """Longest duration of a good event in seconds; None for objectives that are not about time."""

    @property
    def budget(self) -> float:
        """Fraction of events that may be bad."""
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
    """`threshold`, in seconds, must be a bucket edge of the histogram; it is formatted into `promise`."""
    # Services export the same histogram without a model. The gateway's is what callers see.
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
    "streams whose tokens after the first came every {:g} s or sooner, on average",
)
OBJECTIVES = (AVAILABILITY, FIRST_TOKEN, TOKEN_PACE)


def ratio(window: str) -> str:
    """Returns the name of the recorded ratio of bad events over `window`, by model and objective."""
    return f"model:sensorium_slo_errors:ratio_rate{window}"


def errors(window: str) -> str:
    """Returns the name of the recorded bad events per second over `window`, by model and objective."""
    return f"model:sensorium_slo_errors:rate{window}"


def events(window: str) -> str:
    """Returns the name of the recorded events per second over `window`, by model and objective."""
    return f"model:sensorium_slo_events:rate{window}"
