"""Gateway and text service on this test's event loop, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.config import GatewaySettings
from sensorium import AsyncClient
from services.text.app import TextService
from services.text.config import TextSettings

QUICK: dict[str, Any] = {
    "port": 0,
    "metrics_port": 0,
    "drain_delay_seconds": 0,
    "drain_grace_seconds": 5,
}


@dataclass
class RunningText:
    """A ready text service."""

    service: TextService

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.service.server.port}"

    def metric(self, name: str, **labels: str) -> float:
        """Returns a metric as a scrape would see it; 0 if it has no sample yet."""
        return self.service.registry.get_sample_value(name, labels) or 0.0


@dataclass
class RunningStack:
    """A client of a gateway with one text service behind it."""

    client: AsyncClient
    text: RunningText
    gateway: Gateway


@asynccontextmanager
async def text_service(folder: Path, **changes: Any) -> AsyncIterator[RunningText]:
    """Serves the checkpoint in `folder` in float32 on the CPU."""
    settings = TextSettings(**{"model": str(folder), "device": "cpu", "dtype": "float32", **QUICK, **changes})
    service = TextService(settings)
    try:
        async with service.server as server:
            await service.load()
            server.ready()
            yield RunningText(service)
    finally:
        service.close()


@asynccontextmanager
async def running_stack(folder: Path, **changes: Any) -> AsyncIterator[RunningStack]:
    """Serves the checkpoint behind a gateway; `changes` are settings of the text service."""
    async with text_service(folder, **changes) as text:
        gateway = Gateway(GatewaySettings(static=(text.address,), **QUICK))
        async with gateway, gateway.server as server:
            await gateway.prepare()
            server.ready()
            async with AsyncClient(f"127.0.0.1:{server.port}", timeout=60) as client:
                yield RunningStack(client, text, gateway)
