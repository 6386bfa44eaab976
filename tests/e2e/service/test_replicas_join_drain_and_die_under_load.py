"""Three replicas behind a gateway that follows EndpointSlices: one is added, one drained and one killed under load."""

import asyncio
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from local.nursery import Fork
from tests.e2e.callers import Callers, calling
from tests.e2e.processes import ROOT, Logged, Server, server
from tests.fakes.kubernetes_api import KubernetesApi, endpoint, endpoint_slice
from tests.waiting import PATIENCE, until

STREAMS = 32
TOKENS = 48
SERVICE = "sensorium-text"


class Replica(Logged):
    """A process of the text service."""

    def __init__(self, number: int, folder: Path, *arguments: str) -> None:
        # Of one that has imported torch already: it is the longest part of a start.
        self.process = Fork(f"text-{number}", "services.text", arguments, folder / f"text-{number}.log")

    @property
    def log(self) -> str:
        return self.process.last_lines(1000)

    @property
    def ended(self) -> bool:
        return self.process.exit_code is not None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


class Replicas:
    """Replicas of the text service, and their slices."""

    def __init__(self, api: KubernetesApi, processes: list[Replica]) -> None:
        self.api = api
        self.processes = processes

    def tell(self, number: int, *, ready: bool = True, serving: bool = True, terminating: bool = False) -> None:
        """Writes what Kubernetes would of a replica. Each has its own port here, and so its own slice."""
        host, _, port = self.processes[number].address.rpartition(":")
        told = endpoint(host, f"uid-{number}", ready=ready, serving=serving, terminating=terminating)
        self.api.put(endpoint_slice(SERVICE, [told], name=f"{SERVICE}-{number}", port=int(port)))

    def forget(self, number: int) -> None:
        self.api.delete(f"{SERVICE}-{number}")


@asynccontextmanager
async def running(folder: Path, count: int) -> AsyncIterator[list[Replica]]:
    ports = ("--port", "0", "--metrics-port", "0")
    model = ("--model", str(ROOT / "models/chat"), "--device", "cpu", "--cache-mib", "64", "--drain-delay-seconds", "1")
    replicas = [Replica(number, folder, *model, *ports) for number in range(count)]
    try:
        await until(lambda: all(replica.ready or replica.ended for replica in replicas))
        yield replicas
    finally:
        for replica in replicas:
            if not replica.ended:
                replica.send(signal.SIGKILL)
            replica.process.stop()


@asynccontextmanager
async def gateway(api: KubernetesApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig(folder))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    chosen = (
        *("--discovery", "endpointslice", "--endpointslices", f"text={SERVICE}", "--drain-delay-seconds", "0"),
        # Replicas that share two cores with other tests may take long to answer a probe.
        *("--probe-timeout-seconds", str(PATIENCE)),
    )
    async with server(folder / "gateway.log", "gateway", *chosen, forked=True) as process:
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

    async def until(self, name: str, value: float, **labels: str) -> None:
        """Returns when the metric is that."""
        async with asyncio.timeout(PATIENCE):
            while await self.read(name, **labels) != value:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.05)

    def _page(self) -> str:
        with urllib.request.urlopen(self._url) as page:
            return page.read().decode()


async def more(callers: Callers, calls: int, endpoint: str = "") -> None:
    """Returns when so many more calls have ended, of an endpoint where it is given."""

    def count() -> int:
        return len(callers.served_by(endpoint) if endpoint else callers.ended)

    before = count()
    await until(lambda: count() >= before + calls)


@pytest.mark.timeout(1800)
async def test_neither_the_added_nor_the_drained_nor_the_killed_one_costs_anybody_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with KubernetesApi() as api, running(tmp_path, 4) as processes:
        replicas = Replicas(api, processes)
        for number in range(3):
            replicas.tell(number)
        async with gateway(api, tmp_path, monkeypatch) as process:
            metrics = Metrics(process)
            async with calling(process.address, streams=STREAMS, wholes=16, tokens=TOKENS) as callers:
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
    added = replicas.processes[3].address
    replicas.tell(3, ready=False, serving=False)
    await more(callers, STREAMS)
    assert callers.served_by(added) == []
    replicas.tell(3)
    await more(callers, STREAMS // 2, added)


async def _drain(replicas: Replicas, callers: Callers, metrics: Metrics) -> None:
    """A pod is deleted: the kubelet sends SIGTERM, and about then the slice says that it terminates."""
    drained = replicas.processes[0]
    drained.send(signal.SIGTERM)
    replicas.tell(0, ready=False, serving=True, terminating=True)
    await metrics.until("sensorium_gateway_endpoints", 1, pool="text", state="draining")
    told = monotonic()
    await until(lambda: drained.ended)
    assert drained.process.exit_code == 0, drained.log
    replicas.forget(0)
    await more(callers, STREAMS)
    assert [call for call in callers.served_by(drained.address) if call.begun > told] == []
    await metrics.until("sensorium_gateway_endpoints", 3, pool="text")


async def _kill(replicas: Replicas, callers: Callers, metrics: Metrics) -> None:
    """A node is lost: the replica ends without a word, and Kubernetes notices later."""
    killed = replicas.processes[1]

    async def amid() -> bool:
        """Whether it is in the middle of some streams, and has answered nothing yet of other calls."""
        running = await metrics.read("sensorium_gateway_endpoint_inflight", pool="text", endpoint=killed.address)
        begun = [len(call.token_ids) for call in callers.running if call.endpoint == killed.address and call.events]
        return any(tokens < TOKENS for tokens in begun) and len(begun) < running

    async with asyncio.timeout(PATIENCE):
        while True:
            # It stands still until everything that it has sent was read.
            killed.send(signal.SIGSTOP)
            await asyncio.sleep(1)
            if await amid():
                break
            killed.send(signal.SIGCONT)
            await asyncio.sleep(0.2)
    killed.send(signal.SIGKILL)
    await more(callers, STREAMS)
    replicas.tell(1, ready=False, serving=False)
    await more(callers, STREAMS)
    replicas.forget(1)
