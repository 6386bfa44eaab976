import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sensorium import AsyncClient, ModelNotReady
from sensorium.v1.text_pb2 import StreamGenerateResponse
from tests.e2e.processes import Server, server
from tests.e2e.requests import read, request
from tests.tiny.language_models import write_checkpoint
from tests.waiting import until

TOKENS = 1000
"""Enough to be on the way still when the refusal comes."""


async def drained(target: Server, address: str) -> tuple[list[str], ModelNotReady]:
    """Sends SIGTERM while a stream is running; returns the stream's events and what a new call met."""
    asked = request([9], max_new_tokens=TOKENS, ignore_eos=True)
    async with AsyncClient(address, retry=None, timeout=60) as client:
        stream = client.text.stream_generate(asked)
        events: AsyncIterator[StreamGenerateResponse] = aiter(stream)
        seen = [(await anext(events)).WhichOneof("event") or "" for _ in range(2)]
        target.process.send_signal(signal.SIGTERM)
        await until(lambda: "draining" in target.log)
        with pytest.raises(ModelNotReady) as refused:
            while True:  # until the gate has closed, which the log tells a moment early
                await read(client, request([8], max_new_tokens=1))
        seen += [event.WhichOneof("event") or "" async for event in events]
    await until(lambda: target.ended)
    return seen, refused.value


async def test_sigterm_lets_streams_finish_and_refuses_new_calls(tmp_path: Path) -> None:
    """The running stream comes to its end, a new call is told when to retry, and the process exits with 0."""
    quick = ("--drain-delay-seconds", "0")
    model = ("--model", str(write_checkpoint(tmp_path / "llama", "llama", context=1024)), *quick)
    async with (
        server(tmp_path / "text.log", "services.text", *model) as text,
        server(tmp_path / "gateway.log", "gateway", "--static", text.address, *quick) as gateway,
    ):
        for target in (gateway, text):
            events, refused = await drained(target, target.address)
            assert events[0] == "started"
            assert events[-1] == "completed"
            assert refused.retry_after is not None
            assert refused.retry_after > 0
            assert target.process.returncode == 0, target.log
