"""A device fails, or a kernel hangs: streams go on elsewhere, the process ends, is started anew, and serves again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from local.nursery import Fork
from local.stack import free_ports
from sensorium import AsyncClient
from sensorium.errors import ModelNotReady
from sensorium.v1 import text_pb2 as pb
from services.watchdog import DEVICE_FAILED, STEP_HUNG
from tests.e2e.conftest import Checkpoints
from tests.e2e.stack import gateway_of, text_service
from tests.waiting import PATIENCE, until

REQUEST = pb.StreamGenerateRequest(
    prompt="Once", parameters={"temperature": 1.1, "seed": 5, "max_new_tokens": 150, "min_new_tokens": 150}
)
FAULTS = {
    "CUDA error: an illegal memory access was encountered": (DEVICE_FAILED, "illegal_access"),
    "hangs": (STEP_HUNG, "hung"),
}


class Supervisor:
    """Starts a process anew on the same port, as Kubernetes would."""

    def __init__(self, folder: Path, tmp_path: Path) -> None:
        self._fault = tmp_path / "fault"
        self._arguments = (
            *("--fault", str(self._fault), "--model", str(folder), "--name", "m", "--device", "cpu"),
            *("--dtype", "float32", "--metrics-port", "0", "--stuck-step-seconds", "5", "--max-sequences", "16"),
        )
        # Not a port that the kernel gives to callers, who could take it while no process has it.
        self._tmp_path, self._starts, (self.port,) = tmp_path, 0, free_ports(1)

    async def start(self) -> None:
        self._starts += 1
        log = self._tmp_path / f"replica-{self._starts}.log"
        self.process = Fork("replica", "tests.e2e.faulty", (*self._arguments, "--port", str(self.port)), log)
        await until(lambda: "ready" in self.log.split() or self.process.exit_code is not None)
        assert f"listening on 127.0.0.1:{self.port}" in self.log, self.log

    def tell(self, fault: str) -> None:
        """Tells the process which fault its device has, all at once, as it reads that in every step."""
        new = self._tmp_path / "new"
        new.write_text(fault)
        new.replace(self._fault)

    @property
    def log(self) -> str:
        return self.process.last_lines(1000)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def supervisor(checkpoints: Checkpoints, tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(checkpoints("llama"), tmp_path)
    yield made
    made.process.stop()


async def read(client: AsyncClient, told: asyncio.Event | None = None) -> list[int]:
    tokens: list[int] = []
    async for event in client.text.stream_generate(REQUEST):
        tokens += event.delta.token_ids
        if told is not None and len(tokens) > 9:
            told.set()
    return tokens


async def follow_health(address: str, found: list[int]) -> None:
    """Appends what health says until the server is gone."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            async for answer in HealthStub(channel).Watch(HealthCheckRequest()):
                found.append(answer.status)
        except grpc.aio.AioRpcError:
            pass


async def test_streams_go_on_elsewhere_and_the_process_begins_anew(
    supervisor: Supervisor, checkpoints: Checkpoints
) -> None:
    async with text_service(checkpoints("llama"), name="m", max_sequences=4) as other:
        async with AsyncClient(other.address, timeout=PATIENCE) as client:
            expected = await read(client)
        for fault, (code, reason) in FAULTS.items():
            await supervisor.start()
            async with AsyncClient(supervisor.address, timeout=PATIENCE) as client:
                assert await read(client) == expected
            async with (
                gateway_of(supervisor.address, other.address) as (gateway, client),
                AsyncClient(supervisor.address, timeout=PATIENCE) as direct,
            ):
                health = list[int]()
                following = asyncio.create_task(follow_health(supervisor.address, health))
                await until(lambda health=health: bool(health))
                supervisor.tell("is slow")  # so that no stream has ended when the fault comes
                told = [asyncio.Event() for _ in range(2)]
                streams = [asyncio.create_task(read(client, told[0])) for _ in range(3)]
                neighbour = asyncio.create_task(read(direct, told[1]))
                for each in told:
                    await each.wait()
                supervisor.tell(fault)
                assert await asyncio.gather(*streams) == [expected] * 3
                with pytest.raises(ModelNotReady):
                    await neighbour
                await following
                assert health == [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]
            resumed = gateway.registry.get_sample_value("sensorium_gateway_stream_resumes_total", {"result": "resumed"})
            assert resumed
            await until(lambda: supervisor.process.exit_code is not None)
            assert supervisor.process.exit_code == code, supervisor.log
            assert supervisor.log.count(f"has stopped working ({reason})") == 1
            # Who hung where is in the log.
            assert ("most recent call first" in supervisor.log) == (code == STEP_HUNG)
            supervisor.tell("")
