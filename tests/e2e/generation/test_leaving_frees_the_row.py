import asyncio
from pathlib import Path

import grpc
import pytest

from sensorium import AsyncClient, DeadlineExceeded
from tests.e2e.requests import read, request
from tests.e2e.stack import running_stack, text_service
from tests.tiny.language_models import write_checkpoint
from tests.waiting import until

LONG = 2000
"""More than are made in a twentieth of a second."""


async def test_a_cancelled_stream_stops_computing(tmp_path: Path) -> None:
    """The neighbour goes on; the cancelled row and its pages are free long before its tokens would have been made."""
    async with running_stack(write_checkpoint(tmp_path, "llama", context=4096)) as stack:
        metric = stack.text.metric
        stream = stack.client.text.stream_generate(request([9], max_new_tokens=LONG, ignore_eos=True))
        neighbour = asyncio.create_task(read(stack.client, request([8], max_new_tokens=LONG, ignore_eos=True)))
        async for event in stream:
            if event.HasField("delta") and metric("sensorium_engine_requests_running") == 2:
                break
        await until(lambda: metric("sensorium_engine_requests_total", finish_reason="cancelled") == 1)
        await until(lambda: metric("sensorium_engine_requests_running") <= 1)
        assert len((await neighbour).token_ids) == LONG
        assert metric("sensorium_engine_generation_tokens_total") < 2 * LONG
        await until(lambda: metric("sensorium_engine_kv_cache_usage_ratio") == 0)


async def test_a_passed_deadline_stops_computing(tmp_path: Path) -> None:
    async with running_stack(write_checkpoint(tmp_path, "llama", context=4096)) as stack:
        asked = request([9], max_new_tokens=LONG, ignore_eos=True)
        with pytest.raises(DeadlineExceeded):
            async for _ in stack.client.text.stream_generate(asked, timeout=0.05):
                pass
        await until(lambda: stack.text.metric("sensorium_engine_requests_running") == 0)
        assert stack.text.metric("sensorium_engine_generation_tokens_total") < LONG


async def test_a_client_that_stops_reading_is_ended(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It gets what was sent, then RESOURCE_EXHAUSTED; the row is free before the output would have been complete."""
    folder = write_checkpoint(tmp_path_factory.mktemp("long"), "llama", context=8192)
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    asked = request([9], max_new_tokens=8000, ignore_eos=True).SerializeToString()
    async with text_service(folder, max_unread_tokens=64, max_sequences=1, stalled_client_seconds=1) as text:
        async with grpc.aio.insecure_channel(text.address, options=options) as channel:
            call = channel.unary_stream("/sensorium.v1.TextService/StreamGenerate")(asked)
            await call.read()
            await until(lambda: text.metric("sensorium_engine_requests_total", finish_reason="cancelled") == 1)
            await until(lambda: text.metric("sensorium_engine_requests_running") == 0)
            received = 1
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                while await call.read() is not grpc.aio.EOF:
                    received += 1
            assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert received < 8000
        async with AsyncClient(text.address) as client:
            assert len((await read(client, request([9], max_new_tokens=4, ignore_eos=True))).token_ids) == 4
