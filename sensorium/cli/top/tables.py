"""The tables of a frame: pools, models, endpoints. Each is its columns; none where there is nothing to show."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from sensorium.cli.descriptors import short_name
from sensorium.cli.terminal import printable
from sensorium.cli.top.columns import Column
from sensorium.cli.top.figures import NOTHING, bar, number, seconds
from sensorium.cli.top.scrape import Change, Scrape
from sensorium.v1.models_pb2 import MODEL_STATE_READY, ModelInfo

REQUESTS = "sensorium_gateway_requests_total"
TOKENS = "sensorium_gateway_tokens_total"
RUNNING = "sensorium_gateway_inflight_requests"
QUEUED = "sensorium_gateway_queue_depth"


def pools(now: Scrape) -> list[Column]:
    """Returns how much each pool does, and could do."""
    capacity = now.values("sensorium_gateway_pool_capacity", "pool")
    names = sorted(capacity)

    def figures(metric: str) -> list[str]:
        values = now.values(metric, "pool")
        return [number(values.get(name, 0.0)) for name in names]

    load = now.values("sensorium_gateway_pool_saturation", "pool")
    states = [now.values("sensorium_gateway_endpoints", "state", pool=name) for name in names]
    if not names:
        return []
    return [
        Column("POOL", [_name(name) for name in names], right=False),
        Column("ENDPOINTS", [_states(found) for found in states], rank=2, right=False),
        Column("RUNNING", figures(RUNNING), rank=3),
        Column("QUEUED", figures(QUEUED), rank=1),
        Column("CAPACITY", [number(capacity[name]) for name in names], rank=4),
        Column("LOAD", [bar(load.get(name, 0.0)) for name in names], right=False),
    ]


def requests(change: Change, **where: str) -> dict[str, float]:
    """Returns calls a second for each model, of those with labels `where`; none for no time.

    Without those that only ask for models, as whoever looks at this does every now and then.
    """
    listed = change.rates(REQUESTS, "model", task="models", **where)
    return {name: rate - listed.get(name, 0.0) for name, rate in change.rates(REQUESTS, "model", **where).items()}


def models(change: Change, listed: Sequence[ModelInfo]) -> list[Column]:
    """Returns what each model is asked, and how fast it answers; those listed first, then others that are asked for."""
    known = {info.identity.name: info for info in listed}
    asked, ok = requests(change), requests(change, code="OK")
    failed = {name: rate - ok.get(name, 0.0) for name, rate in asked.items()}
    tokens = change.rates(TOKENS, "model", direction="output")
    names = [*sorted(known), *sorted(name for name, rate in asked.items() if rate and name not in known)]
    if not names:
        return []

    def rates(values: Mapping[str, float]) -> list[str]:
        return [number(values.get(name, 0.0) if change.seconds > 0 else None) for name in names]

    def times(histogram: str) -> list[str]:
        found = [[change.quantile(share, histogram, model=name) for share in (0.5, 0.99)] for name in names]
        return [" ".join(map(seconds, both)) if None not in both else NOTHING for both in found]

    return [
        Column("MODEL", [_name(name) for name in names], right=False),
        Column("STATE", [_state(known.get(name)) for name in names], rank=2, right=False),
        Column("REQUESTS/S", rates(asked)),
        Column("NOT OK/S", rates(failed), rank=3),
        Column("TOKENS/S", rates(tokens), rank=1),
        Column("FIRST p50 p99", times("gen_ai_server_time_to_first_token_seconds"), rank=4),
        Column("EACH p50 p99", times("gen_ai_server_time_per_output_token_seconds"), rank=5),
        Column("WHOLE p50 p99", times("gen_ai_server_request_duration_seconds"), rank=6),
    ]


def endpoints(now: Scrape) -> list[Column]:
    """Returns what each endpoint works on, and when it last told what it can do."""
    running = now.series.get("sensorium_gateway_endpoint_inflight", {})
    found = sorted(
        (dict(labels).get("pool", ""), dict(labels).get("endpoint", ""), running[labels]) for labels in running
    )
    ages = now.values("sensorium_gateway_load_report_age_seconds", "endpoint")
    reported = [f"{ages[address]:.0f} s ago" if address in ages else NOTHING for _, address, _ in found]
    if not found:
        return []
    return [
        Column("ENDPOINT", [_name(address) for _, address, _ in found], right=False),
        Column("POOL", [printable(pool) for pool, _, _ in found], rank=1, right=False),
        Column("RUNNING", [number(value) for _, _, value in found]),
        Column("REPORTED", reported, rank=2),
    ]


def _name(name: str) -> Text:
    return Text(printable(name), style="bold")


def _states(endpoints: Mapping[str, float]) -> Text:
    told = {state: int(count) for state, count in endpoints.items() if count}
    ready = told.pop("ready", 0)
    text = Text(f"{ready} ready", style="green" if ready else "red")
    for state, count in sorted(told.items()):
        text.append(f", {count} {printable(state).replace('_', ' ')}", style="yellow")
    return text


def _state(info: ModelInfo | None) -> Text:
    if info is None:
        return Text(NOTHING)
    state = short_name(ModelInfo.DESCRIPTOR.fields_by_name["state"], info.state)
    return Text(state, style="green" if info.state == MODEL_STATE_READY else "yellow")
