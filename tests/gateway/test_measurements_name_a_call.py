import asyncio
import urllib.request

import pytest

from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService
from tests.gateway.rig import Rig, rig
from tests.waiting import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ((("x-request-id", "r-1"),), 'request_id="r-1"'),
        ((("x-request-id", "r-1"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")), f'trace_id="{TRACE}"'),
        ((("x-request-id", "r-1"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-00")), 'request_id="r-1"'),
        ((("x-request-id", 'q"' * 20),), 'request_id="' + 'q\\"' * 20),
        ((("x-request-id", "long" * 32),), ""),
    ],
)
async def test_buckets_have_exemplars_that_name_a_call(metadata: tuple[tuple[str, str], ...], named: str) -> None:
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        call = gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x"), metadata=metadata)
        assert len([event async for event in call]) == 5
        count = "sensorium_gateway_request_duration_seconds_count"
        await until(lambda: gateway.metric(count, task="generate_text", model="tiny") == 1)
        page = await scraped(gateway, OPEN_METRICS)
        for name in ("sensorium_gateway_request_duration", "gen_ai_server_time_to_first_token"):
            buckets = [
                line for line in page.splitlines() if line.startswith(f"{name}_seconds_bucket") and " # {" in line
            ]
            assert len(buckets) == bool(named)
            assert all(named in line for line in buckets)
        assert " # {" not in await scraped(gateway, "text/plain")


async def scraped(gateway: Rig, accept: str) -> str:
    url = f"http://127.0.0.1:{gateway.gateway.server.metrics_port}/metrics"
    asked = urllib.request.Request(url, headers={"Accept": accept})
    response = await asyncio.to_thread(urllib.request.urlopen, asked)
    with response:
        return (await asyncio.to_thread(response.read)).decode()
