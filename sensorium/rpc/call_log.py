"""The line that the log has of each call, when it has ended."""

import logging
from collections.abc import Mapping
from urllib.parse import unquote

from grpc import StatusCode

from sensorium.call_record import CallRecord

LOGGER = "sensorium.calls"
"""Its lines are of level `info`, those of ModelService of level `debug`; `--no-log-calls` leaves them out."""

FREQUENT = "/sensorium.v1.ModelService/"
"""Begins methods that gateways call all the time, to learn of models: not worth a line, or a trace."""

_log = logging.getLogger(LOGGER)


def log_call(record: CallRecord, code: StatusCode, seconds: float, peer: str) -> None:
    """Writes what became of a call: names, numbers and codes, and nothing of what was sent either way."""
    level = logging.DEBUG if record.method.startswith(FREQUENT) else logging.INFO
    if _log.isEnabledFor(level):
        said = {"method": record.method, "code": code.name}
        facts = _facts_of(record, seconds, host_of(peer))
        _log.log(level, "%s %s", *said.values(), extra={"said": said, "facts": facts})


def _facts_of(record: CallRecord, seconds: float, host: str) -> Mapping[str, object]:
    """Returns what is known of a call, by the names of docs/observing.md; what is not known is left out."""
    facts: dict[str, object] = {"seconds": round(seconds, 6)}
    told = {
        "model": record.model,
        "reason": record.reason,
        "finish_reason": ",".join(record.finish_reasons),
        "endpoint": record.endpoint,
        "trace_id": record.trace_id,
        "peer": host,
    }
    facts.update((key, value) for key, value in told.items() if value)
    if (consumed := record.consumption) is not None:
        counts = {
            "input_tokens": consumed.input_tokens,
            "output_tokens": consumed.output_tokens,
            "cached_tokens": consumed.cached_tokens,
            "images": consumed.images,
            "audio_seconds": round(consumed.audio_seconds or 0.0, 3),
        }
        facts.update((key, value) for key, value in counts.items() if value)
    return facts


def host_of(peer: str) -> str:
    """Returns the address of a peer as gRPC tells it (`ipv4:10.0.0.7:51234`), without the port."""
    kind, _, address = peer.partition(":")
    return unquote(address.rpartition(":")[0]).strip("[]") if kind in ("ipv4", "ipv6") else kind
