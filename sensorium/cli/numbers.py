"""Figures of a result in a few words."""

from google.protobuf.duration_pb2 import Duration

from sensorium.v1.common_pb2 import Timing, Usage

_MIB = 2**20


def seconds(span: Duration) -> float:
    """Returns `span` in seconds."""
    return span.seconds + span.nanos / 1e9


def spoken(span: Duration) -> str:
    """Returns `span` as a person reads it, such as `120 ms` or `2.5 s`."""
    length = seconds(span)
    return f"{length * 1000:.3g} ms" if length < 1 else f"{length:.3g} s"


def sized(count: int) -> str:
    """Returns so many bytes as a person reads them, such as `1,177.4 MiB`."""
    return f"{count:,} bytes" if count < _MIB else f"{count / _MIB:,.1f}".removesuffix(".0") + " MiB"


def generation(usage: Usage, timing: Timing) -> list[str]:
    """Returns tokens, tokens per second and time to the first token, as far as they are known."""
    count = usage.output_token_count
    parts = [f"{count} tokens"]
    streaming = seconds(timing.total) - seconds(timing.time_to_first_output)
    if count > 1 and streaming > 0:
        parts.append(f"{(count - 1) / streaming:.1f} tokens/s")
    if timing.HasField("time_to_first_output"):
        parts.append(f"first token after {spoken(timing.time_to_first_output)}")
    return parts


def consumption(usage: Usage, timing: Timing) -> list[str]:
    """Returns what a result took, as far as it is known."""
    counts = {
        "tokens in": usage.input_token_count,
        "tokens out": usage.output_token_count,
        "images": usage.image_count,
    }
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    if usage.HasField("audio_duration"):
        parts.append(f"{spoken(usage.audio_duration)} of audio")
    if timing.HasField("total"):
        parts.append(spoken(timing.total))
    return parts
