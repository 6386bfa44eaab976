import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import grpc
import pytest

from gateway.discovery.dns import DnsDiscovery, look_up
from gateway.discovery.places import HostPort
from sensorium.v1 import text_pb2, text_pb2_grpc
from tests.fakes.text_service import FakeTextService
from tests.gateway.process import gateway
from tests.waiting import until

NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
TEXT = HostPort("text", "sensorium-text", 50051)
VISION = HostPort("vision", "sensorium-vision", 50052)


class Names:
    """A fake resolver, and the snapshots of discovery."""

    def __init__(self, **answers: Sequence[str] | OSError) -> None:
        self.answers = {f"sensorium-{name}": answer for name, answer in answers.items()}
        self.asked = 0
        self.snapshots: list[set[str]] = []

    async def resolve(self, name: str) -> Sequence[str]:
        self.asked += 1
        answer = self.answers[name]
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def answered(self) -> None:
        """Waits until every name was looked up once more."""
        asked = self.asked
        await until(lambda: self.asked >= asked + 4)


@asynccontextmanager
async def discovered(names: Names) -> AsyncIterator[DnsDiscovery]:
    discovery = DnsDiscovery([TEXT, VISION], 0.01, names.resolve)

    async def read() -> None:
        async with aclosing(discovery.snapshots()) as snapshots:
            async for members in snapshots:
                names.snapshots.append({f"{member.pool} {member.address}" for member in members})

    task = asyncio.ensure_future(read())
    try:
        yield discovery
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_address_of_a_name_is_an_endpoint_of_its_pool():
    names = Names(text=["10.0.0.1", "10.0.0.2"], vision=["fd00::1"])
    async with discovered(names) as discovery:
        assert discovery.pools == ("text", "vision")
        await until(lambda: bool(names.snapshots))
        assert names.snapshots == [{"text 10.0.0.1:50051", "text 10.0.0.2:50051", "vision [fd00::1]:50052"}]
        await names.answered()
        assert len(names.snapshots) == 1
        names.answers["sensorium-text"] = ["10.0.0.2", "10.0.0.3"]
        await until(lambda: len(names.snapshots) == 2)
        assert names.snapshots[-1] == {"text 10.0.0.2:50051", "text 10.0.0.3:50051", "vision [fd00::1]:50052"}


async def test_a_failed_lookup_keeps_the_last_answer_and_is_logged_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "gateway")
    names = Names(text=["10.0.0.1"], vision=["10.0.0.9"])
    async with discovered(names):
        await until(lambda: bool(names.snapshots))
        names.answers["sensorium-text"] = NO_SUCH_NAME
        names.answers["sensorium-vision"] = ["10.0.0.8"]
        await until(lambda: len(names.snapshots) == 2)
        assert names.snapshots[-1] == {"text 10.0.0.1:50051", "vision 10.0.0.8:50052"}
        await names.answered()
        assert caplog.text.count("looking up sensorium-text fails") == 1
        names.answers["sensorium-text"] = ["10.0.0.2"]
        await until(lambda: len(names.snapshots) == 3)
        assert "sensorium-text can be looked up again" in caplog.text


async def test_an_empty_answer_is_an_empty_pool():
    names = Names(text=["10.0.0.1"], vision=[])
    async with discovered(names):
        await until(lambda: names.snapshots == [{"text 10.0.0.1:50051"}])
        names.answers["sensorium-text"] = []
        await until(lambda: names.snapshots[-1] == set())


async def test_there_is_no_snapshot_before_the_first_answer():
    names = Names(text=NO_SUCH_NAME, vision=NO_SUCH_NAME)
    async with discovered(names):
        await names.answered()
        assert names.snapshots == []
        names.answers["sensorium-vision"] = []
        await until(lambda: names.snapshots == [set()])


async def test_asks_the_systems_resolver():
    assert set(await look_up("localhost")) <= {"127.0.0.1", "::1"}
    assert await look_up("localhost")
    assert await look_up("::1") == ["::1"]
    with pytest.raises(OSError):
        await look_up("no-such-name.invalid")


async def test_a_dual_stack_name_counts_by_its_ipv4_addresses(monkeypatch: pytest.MonkeyPatch):
    def both(*_: object, **__: object) -> list[object]:
        six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 0, 0, 0))
        return [six, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0)), six]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert await look_up("both") == ["10.0.0.1"]


async def test_a_name_without_addresses_is_an_empty_answer(monkeypatch: pytest.MonkeyPatch):
    def none(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    assert await look_up("empty") == ()


async def test_a_gateway_process_finds_endpoints_by_this_machines_name():
    async with (
        FakeTextService() as fake,
        gateway(
            "--discovery", "dns", "--dns", f"text=localhost:{fake.port}", "--port", "0", "--metrics-port", "0"
        ) as process,
        grpc.aio.insecure_channel((await process.line(r"listening on (\S+),")).group(1)) as channel,
    ):
        await process.line(rf"127\.0\.0\.1:{fake.port} added to pool text")
        await process.line(r"sensorium\.rpc .* ready$")
        await text_pb2_grpc.TextServiceStub(channel).Tokenize(text_pb2.TokenizeRequest(texts=["a"]))
        assert len(fake.seen) == 1
