"""Gateway and one service on this test's event loop, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.config import GatewaySettings
from sensorium import AsyncClient
from services.multimodal.app import MultimodalService
from services.multimodal.config import MultimodalSettings
from services.process import ModelProcess
from services.speech.app import SpeechService
from services.speech.config import SpeechSettings
from services.text.app import TextService
from services.text.config import TextSettings
from services.vision.app import VisionService
from services.vision.config import VisionSettings
from tests.waiting import PATIENCE, until, watched

QUICK: dict[str, Any] = {
    "port": 0,
    "metrics_port": 0,
    "drain_delay_seconds": 0,
    "drain_grace_seconds": 5,
}


@dataclass
class RunningService:
    """A ready service."""

    service: ModelProcess[Any]

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.service.server.port}"

    def metric(self, name: str, **labels: str) -> float:
        """Returns a metric as a scrape would see it; 0 if it has no sample yet."""
        return self.service.registry.get_sample_value(name, labels) or 0.0


@dataclass
class RunningStack:
    """A client of a gateway with one service behind it."""

    client: AsyncClient
    service: RunningService
    gateway: Gateway

    @property
    def text(self) -> RunningService:
        """The service, where it is of texts."""
        return self.service


@asynccontextmanager
async def text_service(folder: Path, **changes: Any) -> AsyncIterator[RunningService]:
    """Serves the checkpoint in `folder` in float32 on the CPU."""
    async with _running(TextService(TextSettings(**_settings(folder, changes)))) as running:
        yield running


@asynccontextmanager
async def running_stack(folder: Path, *, over_commit: float = 1.5, **changes: Any) -> AsyncIterator[RunningStack]:
    """Serves the checkpoint behind a gateway with this `over_commit`; `changes` are settings of the text service."""
    async with text_service(folder, **changes) as running, _gateway(running, over_commit=over_commit) as stack:
        yield stack


@asynccontextmanager
async def vision_stack(folder: Path, **changes: Any) -> AsyncIterator[RunningStack]:
    """Serves the checkpoint behind a gateway; `changes` are settings of the vision service."""
    service = VisionService(VisionSettings(**_settings(folder, changes)))
    async with _running(service) as running, _gateway(running) as stack:
        yield stack


@asynccontextmanager
async def multimodal_stack(folder: Path, **changes: Any) -> AsyncIterator[RunningStack]:
    """Serves the checkpoint behind a gateway; `changes` are settings of the multimodal service."""
    service = MultimodalService(MultimodalSettings(**_settings(folder, changes)))
    async with _running(service) as running, _gateway(running) as stack:
        yield stack


@asynccontextmanager
async def speech_service(folder: Path, **changes: Any) -> AsyncIterator[RunningService]:
    """Serves the checkpoint; `changes` are settings of the speech service."""
    async with _running(SpeechService(SpeechSettings(**_settings(folder, changes)))) as running:
        yield running


@asynccontextmanager
async def speech_stack(folder: Path, **changes: Any) -> AsyncIterator[RunningStack]:
    """Serves the checkpoint behind a gateway; `changes` are settings of the speech service."""
    async with speech_service(folder, **changes) as running, _gateway(running) as stack:
        yield stack


def _settings(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    return {"model": str(folder), "device": "cpu", "dtype": "float32", **QUICK, **changes}


@asynccontextmanager
async def _running(service: ModelProcess[Any]) -> AsyncIterator[RunningService]:
    try:
        async with service.server as server:
            await service.load()
            server.ready()
            yield RunningService(service)
    finally:
        service.close()


@asynccontextmanager
async def _gateway(running: RunningService, **changes: Any) -> AsyncIterator[RunningStack]:
    async with gateway_of(running.address, **changes) as (gateway, client):
        yield RunningStack(client, running, gateway)


@asynccontextmanager
async def gateway_of(*addresses: str, **changes: Any) -> AsyncIterator[tuple[Gateway, AsyncClient]]:
    """Runs a gateway that has reached the services at `addresses`, and a client of it."""
    # Where the test computes on the event loop, an answer to the gateway's probe may come late.
    settings = GatewaySettings(static=addresses, probe_timeout_seconds=PATIENCE, **QUICK, **changes)
    gateway = Gateway(settings)
    async with watched(), gateway, gateway.server as server:
        await gateway.prepare()
        # It waits for one attempt only, which a busy machine may let fail.
        await until(lambda: all(endpoint.learned for endpoint in gateway.pool.endpoints))
        server.ready()
        async with AsyncClient(f"127.0.0.1:{server.port}", timeout=PATIENCE) as client:
            yield gateway, client
