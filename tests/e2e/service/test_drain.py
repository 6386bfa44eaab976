import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from sensorium import AsyncClient, ModelNotReady
from sensorium.v1.text_pb2_grpc import TextServiceStub
from tests.e2e.processes import Server, server
from tests.e2e.requests import read, request
from tests.tiny.language_models import write_checkpoint
from tests.waiting import PATIENCE, until

NARROW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024))
"""A client that takes few events before they are read: while it reads none, its stream cannot end."""
TOKENS = 1000
"""As many as a server holds for a client that reads late; the client takes far fewer ahead."""


async def drained(target: Server, address: str) -> tuple[list[str], ModelNotReady]:
    """Sends SIGTERM while a stream is running; returns the stream's events and what a new call met."""
    asked = request([9], max_new_tokens=TOKENS, ignore_eos=True)
    async with (
        AsyncClient(address, retry=None, timeout=PATIENCE) as client,
        grpc.aio.insecure_channel(address, NARROW) as channel,
    ):
        stub: Any = TextServiceStub(channel)
        stream = stub.StreamGenerate(asked)
        seen = [(await stream.read()).WhichOneof("event") or "" for _ in range(2)]
        target.process.send_signal(signal.SIGTERM)
        await until(lambda: "draining" in target.log)
        with pytest.raises(ModelNotReady) as refused:
            while True:  # until the gate has closed, which the log tells a moment early
                await read(client, request([8], max_new_tokens=1))
        while (event := await stream.read()) is not grpc.aio.EOF:
            seen.append(event.WhichOneof("event") or "")
    await until(lambda: target.ended)
    return seen, refused.value


async def test_sigterm_lets_streams_finish_and_refuses_new_calls(tmp_path: Path) -> None:
    """The running stream comes to its end, a new call is told when to retry, and the process exits with 0."""
    quick = ("--drain-delay-seconds", "0", "--drain-grace-seconds", str(PATIENCE))
    model = ("--model", str(write_checkpoint(tmp_path / "llama", "llama", context=1024)), *quick)
    async with (
        server(tmp_path / "text.log", "services.text", *model, forked=True) as text,
        server(tmp_path / "gateway.log", "gateway", "--static", text.address, *quick) as gateway,
    ):
        for target in (gateway, text):
            events, refused = await drained(target, target.address)
            assert events[0] == "started"
            assert events[-1] == "completed"
            assert refused.retry_after is not None
            assert refused.retry_after > 0
            assert target.process.returncode == 0, target.log
