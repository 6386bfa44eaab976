"""What a span tells of a call, by the names of OpenTelemetry's conventions for RPCs and for generative AI.

Names, numbers and codes alone: prompts and outputs, for which the conventions have names too, are never told.
"""

import re
from collections.abc import Mapping, Sequence

from grpc import StatusCode

from sensorium.call_record import CallRecord

Attributes = Mapping[str, str | int | float | Sequence[str]]

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def before(record: CallRecord) -> Attributes:
    """Returns what is known of a call when it arrives."""
    return {
        **_rpc(record),
        "gen_ai.operation.name": operation(record.method),
        "gen_ai.provider.name": "sensorium",
        "sensorium.request_id": record.request_id,
    }


def attempted(record: CallRecord, endpoint: str) -> Attributes:
    """Returns what is known of a try to have it answered."""
    host, _, port = endpoint.rpartition(":")
    return {**_rpc(record), "server.address": host, "server.port": int(port) if port.isdigit() else 0}


def after(record: CallRecord, code: StatusCode) -> Attributes:
    """Returns what is known of a call that has ended; what is not known is left out."""
    told: dict[str, str | int | float | Sequence[str]] = {
        "gen_ai.request.model": record.model,
        "gen_ai.response.finish_reasons": record.finish_reasons,
        "error.type": record.reason or ("" if code is StatusCode.OK else code.name),
    }
    if (consumed := record.consumption) is not None:
        told |= {
            "gen_ai.usage.input_tokens": consumed.input_tokens,
            "gen_ai.usage.output_tokens": consumed.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": consumed.cached_tokens,
            "sensorium.usage.images": consumed.images,
            "sensorium.usage.audio_seconds": consumed.audio_seconds or 0.0,
        }
    return {name: value for name, value in told.items() if value}


def operation(method: str) -> str:
    """Returns the operation that a method is: one of the conventions' own where there is one."""
    name = method.rpartition("/")[2].removeprefix("Stream")
    if name == "Generate":
        return "generate_content"
    return "embeddings" if name.startswith("Embed") else _WORD.sub("_", name).lower()


def _rpc(record: CallRecord) -> Attributes:
    service, _, method = record.method[1:].partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
