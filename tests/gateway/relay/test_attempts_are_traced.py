import grpc
import pytest

from sensorium.errors import ModelNotReady
from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import rig
from tests.traces import ENDPOINT, collected

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
METADATA = (("traceparent", f"00-{TRACE}-{CALLER}-01"), ("tracestate", "vendor=1"))


async def test_each_attempt_is_a_span_and_what_it_calls_is_below_it(monkeypatch: pytest.MonkeyPatch):
    refused = Script(error=ModelNotReady("loading"))
    with collected(monkeypatch) as traces:
        async with FakeTextService(script=refused) as one, FakeTextService() as other:
            async with rig(one.address, other.address, otlp_endpoint=ENDPOINT) as gateway:
                while not one.seen:  # which of the two is tried first is random
                    await gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"]), metadata=METADATA)
            last = [span for span in traces.spans if span.kind.name == "SERVER"][-1]
            first, second = [span for span in traces.below(last) if span.kind.name == "CLIENT"]
            attributes = [traces.attributes(span) for span in (first, second)]
            assert [f"{span['server.address']}:{span['server.port']}" for span in attributes] == [
                one.address,
                other.address,
            ]
            assert [span["rpc.grpc.status_code"] for span in attributes] == [grpc.StatusCode.UNAVAILABLE.value[0], 0]
            assert traces.names_below(last)[0] == "queue"
            for fake, span in ((one, first), (other, second)):
                metadata = fake.seen[-1].metadata
                assert metadata["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"
                assert metadata["tracestate"] == "vendor=1"


async def test_an_unsampled_trace_stays_unsampled_behind_the_gateway(monkeypatch: pytest.MonkeyPatch):
    with collected(monkeypatch) as traces:
        async with FakeTextService() as fake, rig(fake.address, otlp_endpoint=ENDPOINT, trace_ratio=0) as gateway:
            await gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"]))
            assert not int(str(fake.seen[0].metadata["traceparent"])[-2:], 16) & 1
    assert not traces.spans
