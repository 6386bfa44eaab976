"""One call through gateway and service is one trace, whose parts tell where the time went."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from prometheus_client.openmetrics.exposition import generate_latest
from transformers import AutoModel

from sensorium.v1 import text_pb2 as text
from sensorium.v1.common_pb2 import GenerationParameters, TokenIds
from services.process import ModelProcess
from services.text.app import TextService
from services.text.config import TextSettings
from tests.e2e.conftest import Checkpoints
from tests.e2e.stack import QUICK
from tests.gateway.rig import Rig, rig
from tests.tiny.encoders import write_encoder
from tests.traces import ENDPOINT, Collected, collected
from tests.waiting import until

CANARY = "xylocarp"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = (("traceparent", f"00-{TRACE}-{CALLER}-01"), ("x-request-id", "req-7"))
ON: dict[str, Any] = {"otlp_endpoint": ENDPOINT}


def generation(**parameters: Any) -> text.StreamGenerateRequest:
    return text.StreamGenerateRequest(
        prompt_token_ids=TokenIds(ids=[5, 6, 7]), parameters=GenerationParameters(**parameters)
    )


def service(folder: Path) -> ModelProcess[TextSettings]:
    return TextService(TextSettings(model=str(folder), device="cpu", dtype="float32", **QUICK, **ON))


class Traced:
    """A service behind a gateway that both trace."""

    def __init__(self, process: ModelProcess[TextSettings]) -> None:
        self._process = process

    async def __aenter__(self) -> Rig:
        self._server = await self._process.server.__aenter__()
        await self._process.load()
        self._server.ready()
        self._rig = rig(f"127.0.0.1:{self._server.port}", **ON)
        return await self._rig.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self._rig.__aexit__(*error)
        await self._server.__aexit__(*error)
        self._process.close()


def connected(traces: Collected) -> tuple[ReadableSpan, ReadableSpan, ReadableSpan]:
    """Returns the gateway's call, its one attempt and the service's call, which hang together in one trace."""
    gateway, call = traces.server("gateway"), traces.server("text")
    (attempt,) = [span for span in traces.below(gateway) if span.kind.name == "CLIENT"]
    assert traces.below(attempt) == [call]
    assert len({span.context.trace_id for span in traces.spans}) == 1
    for span in traces.spans:
        assert CANARY not in span.to_json()
    return gateway, attempt, call


async def test_a_stream(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    with collected(monkeypatch) as traces:
        process = service(checkpoints("llama"))
        async with Traced(process) as stack:
            events = stack.text.StreamGenerate(generation(max_new_tokens=9, ignore_eos=True), metadata=SAMPLED)
            assert len([event async for event in events]) > 2
            page = generate_latest(process.registry).decode()
    gateway, attempt, call = connected(traces)
    assert f"{gateway.context.trace_id:032x}" == TRACE
    assert gateway.parent is not None
    assert f"{gateway.parent.span_id:016x}" == CALLER
    assert gateway.name == attempt.name == call.name == "sensorium.v1.TextService/StreamGenerate"
    # Delivery begins with `started`, which may leave before the model begins.
    assert sorted(traces.names_below(call)) == ["decode", "delivery", "prefill", "preprocess", "queue"]
    parts = {span.name: span for span in traces.below(call)}
    assert parts["queue"].end_time == parts["prefill"].start_time
    assert parts["prefill"].end_time == parts["decode"].start_time
    for span in parts.values():
        assert call.start_time <= span.start_time <= span.end_time <= call.end_time
    assert gateway.start_time <= attempt.start_time <= call.start_time <= call.end_time <= gateway.end_time
    told = traces.attributes(call)
    assert told["gen_ai.usage.input_tokens"] == 3
    assert told["gen_ai.usage.output_tokens"] == traces.attributes(gateway)["gen_ai.usage.output_tokens"] == 9
    assert told["gen_ai.request.model"] == traces.attributes(gateway)["gen_ai.request.model"] == "llama"
    assert told["gen_ai.response.finish_reasons"] == ("max_new_tokens",)
    assert told["gen_ai.operation.name"] == "generate_content"
    assert told["sensorium.request_id"] == "req-7"
    assert told["rpc.grpc.status_code"] == 0
    assert call.status.is_unset
    assert traces.names_below(gateway) == ["queue", attempt.name]
    for name in ("sensorium_engine_queue", "gen_ai_server_request_duration", "gen_ai_server_time_to_first_token"):
        line = next(line for line in page.splitlines() if line.startswith(f"{name}_seconds_bucket") and " # " in line)
        assert f'trace_id="{TRACE}"' in line


async def test_a_cancelled_stream(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    with collected(monkeypatch) as traces:
        async with Traced(service(checkpoints("llama"))) as stack:
            events = stack.text.StreamGenerate(generation(max_new_tokens=250, ignore_eos=True))
            while not (await events.read()).HasField("delta"):
                pass
            events.cancel()
            await until(lambda: stack.gateway.server.gate.inside == 0)
    _, attempt, call = connected(traces)
    assert traces.attributes(call)["rpc.grpc.status_code"] == grpc.StatusCode.CANCELLED.value[0]
    assert attempt.status.description == traces.attributes(call)["error.type"] == "CANCELLED"
    assert call.status.is_unset
    decode = next(span for span in traces.below(call) if span.name == "decode")
    assert decode.start_time < decode.end_time <= call.end_time


async def test_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModel)
    with collected(monkeypatch) as traces:
        async with Traced(service(folder)) as stack:
            with pytest.raises(grpc.aio.AioRpcError):
                await stack.text.Embed(text.EmbedRequest(texts=["a", CANARY * 999]))
    gateway, attempt, call = connected(traces)
    assert traces.attributes(call)["error.type"] == traces.attributes(gateway)["error.type"] == "INVALID_REQUEST"
    assert gateway.status.is_unset
    assert attempt.status.description == "INVALID_ARGUMENT"
    assert traces.names_below(call) == ["preprocess"]


async def test_what_reads_once_has_no_tokens_to_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModel)
    with collected(monkeypatch) as traces:
        async with Traced(service(folder)) as stack:
            await stack.text.Embed(text.EmbedRequest(texts=["a", CANARY]))
    _, _, call = connected(traces)
    assert traces.names_below(call) == ["preprocess", "queue", "compute", "delivery"]
    assert traces.attributes(call)["gen_ai.operation.name"] == "embeddings"


async def test_who_calls_decides_whether_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModel)
    with collected(monkeypatch) as traces:
        async with Traced(service(folder)) as stack:
            unrecorded = (("traceparent", f"00-{TRACE}-{CALLER}-00"),)
            await stack.text.Embed(text.EmbedRequest(texts=["a"]), metadata=unrecorded)
    assert not traces.spans
