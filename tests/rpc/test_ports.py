import asyncio
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from sensorium import rpc
from tests.rpc.peer import Peer, peer


async def _get(there: Peer, path: str) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{there.server.metrics_port}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""

    return await asyncio.to_thread(get)


async def test_probes_tell_alive_from_ready():
    async with peer() as there:
        assert (await _get(there, "/livez"))[0] == 200
        assert (await _get(there, "/readyz"))[0] == 503
        there.server.ready()
        assert (await _get(there, "/readyz"))[0] == 200
        assert (await _get(there, "/other"))[0] == 404


async def test_a_process_whose_event_loop_is_stuck_is_neither(monkeypatch: pytest.MonkeyPatch):
    """Neither live nor ready, though the thread that answers probes still runs."""
    # Shorter than in production, and long enough for a loop that only waits for a processor.
    monkeypatch.setattr("sensorium.rpc.server._STUCK_SECONDS", 2.0)
    async with peer() as there:
        there.server.ready()
        for path in ("/livez", "/readyz"):
            assert (await _get(there, path))[0] == 200
            # Asked from another thread while `result` blocks this one, and with it the server's event loop.
            with ThreadPoolExecutor(1) as other:
                assert other.submit(asyncio.run, _get(there, path)).result()[0] == 503
            assert (await _get(there, path))[0] == 200


async def test_metrics_are_those_of_the_registry():
    from prometheus_client import CollectorRegistry, Counter

    registry = CollectorRegistry()
    Counter("things_total", "Things.", registry=registry).inc(3)
    settings = rpc.ServerSettings(port=0, metrics_port=0, drain_delay_seconds=0)
    async with rpc.Server(settings, [], registry=registry) as server:
        url = f"http://127.0.0.1:{server.metrics_port}/metrics"
        with await asyncio.to_thread(urllib.request.urlopen, url) as response:
            assert b"things_total 3.0" in response.read()


@pytest.mark.parametrize("port", ["port", "metrics_port"])
async def test_a_port_in_use_is_said_in_a_sentence(port: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(rpc.PortTaken, match=rf"Cannot listen on 127\.0\.0\.1:{number} "):
            async with peer(**{port: number}):
                pass


@pytest.mark.parametrize(("port", "flag"), [("port", "--port"), ("metrics_port", "--metrics-port")])
async def test_a_port_that_a_connection_was_opened_from_is_said_with_what_to_do(port: str, flag: str):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as opened:
        number = opened.getsockname()[1]
        with pytest.raises(rpc.PortTaken, match=rf"a connection .* grep :{number}` .* {flag}\b"):
            async with peer(**{port: number}):
                pass


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_a_host_that_is_not_this_machine_is_said_with_what_to_do(host: str):
    with pytest.raises(rpc.PortTaken, match=r"--host is an address of this machine"):
        async with peer(host=host):
            pass


async def test_two_servers_do_not_share_a_port_silently():
    async with peer() as there:
        with pytest.raises(rpc.PortTaken):
            async with peer(port=there.server.port):
                pass


async def test_ports_are_free_again_after_the_drain():
    async with peer() as there:
        ports = {"port": there.server.port, "metrics_port": there.server.metrics_port}
    async with peer(**ports) as again:
        assert again.server.port == ports["port"]


async def test_reflection_is_there_only_when_asked_for():
    from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

    name = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    request = ServerReflectionRequest(list_services="").SerializeToString()
    async with peer(reflection=True) as there:
        call = there.channel.stream_stream(name)(iter([request]))
        services = ServerReflectionResponse.FromString(await call.read()).list_services_response.service
        assert "sensorium.v1.TextService" in {service.name for service in services}
        assert there.record.began == []
    async with peer() as there:
        call = there.channel.stream_stream(name)(iter([request]))
        assert (await call.code()).name == "UNIMPLEMENTED"
