import asyncio
import urllib.request

import grpc

from sensorium.errors import QueueFull
from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig
from tests.waiting import until

REQUESTS = "sensorium_gateway_requests_total"


async def test_by_task_model_and_code():
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        await gateway.text.Tokenize(text_pb2.TokenizeRequest(model="tiny", texts=["a"]))
        await gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"]))
        fake.script.error = QueueFull("full")
        await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"])))
        # The caller gets an error before it is counted.
        refused = {"task": "tokenize", "model": "tiny", "code": "RESOURCE_EXHAUSTED"}
        await until(lambda: gateway.metric(REQUESTS, **refused) == 1)
        assert gateway.metric(REQUESTS, task="tokenize", model="tiny", code="OK") == 2
        duration = "sensorium_gateway_request_duration_seconds_count"
        assert gateway.metric(duration, task="tokenize", model="tiny") == 3
        assert gateway.metric("sensorium_gateway_attempts_total", result="ok", reason="OK") == 2
        assert gateway.metric("sensorium_gateway_attempts_total", result="error", reason="RESOURCE_EXHAUSTED") == 1
        assert gateway.metric("sensorium_gateway_route_total", reason="only") == 3


async def test_unknown_model_names_share_one_label():
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        for name in ("guess-1", "guess-2"):
            await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(model=name, texts=["a"])))
            await error_of(gateway.channel.unary_unary(f"/sensorium.v1.TextService/{name}")(b""))
        unknown = {"task": "tokenize", "model": "other", "code": "NOT_FOUND"}
        await until(lambda: gateway.metric(REQUESTS, **unknown) == 2)
        assert gateway.metric("sensorium_gateway_route_total", reason="model_not_served") == 2
        page = await _scrape(gateway)
        assert "guess" not in page


async def test_an_unchanged_report_counts_as_a_fresh_one():
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        age = "sensorium_gateway_load_report_age_seconds"

        def seconds() -> float:
            return gateway.metric(age, pool="default", endpoint=fake.address)

        await until(lambda: seconds() > 0.1)
        await until(lambda: seconds() < 0.1)


async def test_the_time_to_the_first_token_is_that_of_the_first_delta():
    gate = asyncio.Event()
    first_token = "gen_ai_server_time_to_first_token_seconds_count"
    async with FakeTextService(script=Script(tokens=2, gate=gate)) as fake, rig(fake.address) as gateway:
        call = gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x"))
        await call.read()
        await call.read()
        await until(lambda: gateway.metric(first_token, model="tiny") == 1)
        assert gateway.metric("sensorium_gateway_inflight_requests", pool="default") == 1
        assert gateway.metric("sensorium_gateway_endpoint_inflight", pool="default", endpoint=fake.address) == 1
        gate.set()
        while await call.read() is not grpc.aio.EOF:
            pass
        assert gateway.metric(first_token, model="tiny") == 1
        await until(lambda: gateway.metric("sensorium_gateway_inflight_requests", pool="default") == 0)


async def test_endpoints_are_gauged_by_state():
    async with FakeTextService() as fake, rig(fake.address, "127.0.0.1:9", reachable=False) as gateway:
        await until(lambda: gateway.metric("sensorium_gateway_endpoints", pool="default", state="ready") == 1)
        assert gateway.metric("sensorium_gateway_endpoints", pool="default", state="connecting") == 1


async def test_health_and_reflection_are_not_counted_and_the_loop_is_measured():
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        await gateway.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        await until(lambda: gateway.metric("sensorium_gateway_event_loop_lag_seconds_count") > 0)
        assert f"{REQUESTS}{{" not in await _scrape(gateway)


async def _scrape(gateway) -> str:
    url = f"http://127.0.0.1:{gateway.gateway.server.metrics_port}/metrics"
    response = await asyncio.to_thread(urllib.request.urlopen, url)
    with response:
        return (await asyncio.to_thread(response.read)).decode()
