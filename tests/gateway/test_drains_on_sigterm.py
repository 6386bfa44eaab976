import asyncio
import signal

import grpc

from sensorium.errors import ModelNotReady
from sensorium.v1 import text_pb2, text_pb2_grpc
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.process import Process, gateway
from tests.gateway.rig import error_of

FREE = ("--port", "0", "--metrics-port", "0")
STREAM = text_pb2.StreamGenerateRequest(prompt="x")


async def _ready(process: Process) -> str:
    address = (await process.line(r"listening on (\S+),")).group(1)
    await process.line(r"sensorium\.rpc .* ready$")
    return address


async def test_running_streams_finish_new_calls_are_refused_and_the_exit_code_is_0():
    gate = asyncio.Event()
    async with (
        FakeTextService(script=Script(gate=gate)) as fake,
        gateway("--static", fake.address, "--drain-delay-seconds", "0", *FREE) as process,
        grpc.aio.insecure_channel(await _ready(process)) as channel,
    ):
        text = text_pb2_grpc.TextServiceStub(channel)
        running = text.StreamGenerate(STREAM)
        await running.read()
        process.child.send_signal(signal.SIGTERM)
        await process.line("draining")
        error = await error_of(text.StreamGenerate(STREAM))
        assert isinstance(error, ModelNotReady)
        assert error.retry_after
        gate.set()
        events = []
        while (event := await running.read()) is not grpc.aio.EOF:
            events.append(event.WhichOneof("event"))
        assert events[-1] == "completed"
        assert await process.exit_code() == 0, process.log


async def test_calls_still_come_in_during_the_delay_and_a_second_signal_hurries():
    async with (
        FakeTextService() as fake,
        gateway("--static", fake.address, "--drain-delay-seconds", "3600", *FREE) as process,
        grpc.aio.insecure_channel(await _ready(process)) as channel,
    ):
        process.child.send_signal(signal.SIGTERM)
        await process.line("draining")
        health = await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        assert health == b"\x08\x02"
        call = text_pb2_grpc.TextServiceStub(channel).StreamGenerate(STREAM)
        assert len([event async for event in call]) == 5
        process.child.send_signal(signal.SIGINT)
        assert await process.exit_code() == 0, process.log


async def test_the_environment_configures_as_the_flags_do():
    environment = {"SENSORIUM_PORT": "0", "SENSORIUM_METRICS_PORT": "0", "SENSORIUM_DRAIN_DELAY_SECONDS": "0"}
    async with FakeTextService() as fake, gateway(SENSORIUM_STATIC=fake.address, **environment) as process:
        await _ready(process)
        process.child.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0, process.log
        assert "Traceback" not in "".join(process.log)


async def test_wrong_settings_exit_with_2_and_name_every_problem():
    async with gateway("--static", "nowhere", "--port", "x", "--nonsense", "1") as process:
        assert await process.exit_code() == 2
        for part in ("--static nowhere: 'nowhere' is not HOST:PORT", "--port x: ", "--nonsense"):
            assert part in process.log[0]


async def test_a_port_in_use_is_one_sentence_and_exits_with_1():
    async with FakeTextService() as fake, gateway("--static", "a:1", *FREE, "--port", str(fake.port)) as process:
        assert await process.exit_code() == 1
        assert f"Cannot listen on 127.0.0.1:{fake.port}" in process.log[0]
        assert "Traceback" not in process.log[0]
