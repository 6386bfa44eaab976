"""Three replicas behind a gateway that follows EndpointSlices: one is added, one drained and one killed under load."""

import asyncio
import re
import signal
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.e2e.callers import Callers, calling
from tests.e2e.processes import ROOT, Server, server
from tests.fakes.kubernetes_api import KubernetesApi, endpoint, endpoint_slice
from tests.waiting import until

STREAMS = 32
SERVICE = "sensorium-text"


class Replicas:
    """Replicas of the text service, and their slices."""

    def __init__(self, api: KubernetesApi, servers: list[Server]) -> None:
        self.api = api
        self.servers = servers

    def tell(self, number: int, *, ready: bool = True, serving: bool = True, terminating: bool = False) -> None:
        """Writes what Kubernetes would of a replica. Each has its own port here, and so its own slice."""
        host, _, port = self.servers[number].address.rpartition(":")
        told = endpoint(host, f"uid-{number}", ready=ready, serving=serving, terminating=terminating)
        self.api.put(endpoint_slice(SERVICE, [told], name=f"{SERVICE}-{number}", port=int(port)))

    def forget(self, number: int) -> None:
        self.api.delete(f"{SERVICE}-{number}")


@asynccontextmanager
async def running(folder: Path, count: int) -> AsyncIterator[list[Server]]:
    model = ("--model", str(ROOT / "models/chat"), "--device", "cpu", "--cache-mib", "64", "--drain-delay-seconds", "1")
    model += ("--dtype", "float32")
    async with AsyncExitStack() as stack:
        logs = [folder / f"text-{number}.log" for number in range(count)]
        # All begin at once: most of their time goes into importing torch.
        waiting = [server(log, "services.text", *model) for log in logs]
        yield list(await asyncio.gather(*map(stack.enter_async_context, waiting)))


@asynccontextmanager
async def gateway(api: KubernetesApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig(folder))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    chosen = ("--discovery", "endpointslice", "--endpointslices", f"text={SERVICE}", "--drain-delay-seconds", "0")
    async with server(folder / "gateway.log", "gateway", *chosen) as process:
        yield process
        process.process.send_signal(signal.SIGTERM)
        await until(lambda: process.ended)
        assert process.process.returncode == 0, process.log


class Metrics:
    """The metrics of a process, as Prometheus would read them."""

    def __init__(self, process: Server) -> None:
        port = re.search(r"metrics on 127\.0\.0\.1:(\d+)", process.log)
        assert port
        self._url = f"http://127.0.0.1:{port[1]}/metrics"

    async def read(self, name: str, **labels: str) -> float:
        """Returns the sum of a metric's samples with these labels."""
        lines = (await asyncio.to_thread(self._page)).splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        samples = [line for line in lines if line.startswith(f"{name}{{") and all(part in line for part in wanted)]
        return sum(float(sample.split()[-1]) for sample in samples)

    async def until(self, name: str, least: float, **labels: str) -> None:
        """Returns when the metric is at least so much."""
        async with asyncio.timeout(30):
            while await self.read(name, **labels) < least:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.05)

    def _page(self) -> str:
        with urllib.request.urlopen(self._url) as page:
            return page.read().decode()


async def more(callers: Callers, calls: int, endpoint: str = "") -> None:
    """Returns when so many more calls have ended, of an endpoint where it is given."""

    def count() -> int:
        return len(callers.served_by(endpoint) if endpoint else callers.ended)

    before = count()
    await until(lambda: count() >= before + calls, 60)


@pytest.mark.timeout(240)
async def test_neither_the_added_nor_the_drained_nor_the_killed_one_costs_anybody_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with KubernetesApi() as api, running(tmp_path, 4) as servers:
        replicas = Replicas(api, servers)
        for number in range(3):
            replicas.tell(number)
        async with gateway(api, tmp_path, monkeypatch) as process:
            metrics = Metrics(process)
            async with calling(process.address, streams=STREAMS, wholes=8, tokens=24) as callers:
                await more(callers, STREAMS)
                await _add(replicas, callers)
                await _drain(replicas, callers, metrics)
                assert callers.failed == []
                await _kill(replicas, callers, metrics)
                await more(callers, STREAMS)
            resumed = await metrics.read("sensorium_gateway_stream_resumes_total", result="resumed")
            print(f"{len(callers.ended)} calls, {resumed:.0f} streams resumed")
            assert callers.failed == []
            assert resumed > 0
            streams = [call for call in callers.ended if call.kind == "stream"]
            assert all(call.events.count("started") == call.events.count("completed") == 1 for call in streams)
            # The seed is the same in all of them, and who went on with them is nothing they show.
            assert len({tuple(call.token_ids) for call in streams}) == 1
            assert await metrics.read("sensorium_gateway_attempts_total", result="retried") > 0


async def _add(replicas: Replicas, callers: Callers) -> None:
    """A replica that is not ready yet gets nothing; once it is, it gets its share."""
    added = replicas.servers[3].address
    replicas.tell(3, ready=False, serving=False)
    await more(callers, STREAMS)
    assert callers.served_by(added) == []
    replicas.tell(3)
    await more(callers, STREAMS // 2, added)


async def _drain(replicas: Replicas, callers: Callers, metrics: Metrics) -> None:
    """A pod is deleted: the kubelet sends SIGTERM, and about then the slice says that it terminates."""
    drained = replicas.servers[0]
    drained.process.send_signal(signal.SIGTERM)
    replicas.tell(0, ready=False, serving=True, terminating=True)
    await metrics.until("sensorium_gateway_endpoints", 1, pool="text", state="draining")
    told = monotonic()
    await until(lambda: drained.ended, 60)
    assert drained.process.returncode == 0, drained.log
    replicas.forget(0)
    await more(callers, STREAMS)
    assert [call for call in callers.served_by(drained.address) if call.begun > told] == []
    assert await metrics.read("sensorium_gateway_endpoints", pool="text") == 3


async def _kill(replicas: Replicas, callers: Callers, metrics: Metrics) -> None:
    """A node is lost: the replica ends without a word, and Kubernetes notices later."""
    killed = replicas.servers[1]
    await metrics.until("sensorium_gateway_endpoint_inflight", 5, pool="text", endpoint=killed.address)
    killed.process.kill()
    await more(callers, STREAMS)
    replicas.tell(1, ready=False, serving=False)
    await more(callers, STREAMS)
    replicas.forget(1)
