"""Rows of the engine's batch that are in use while more callers come than it has rows for."""

import asyncio
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.text.process import LOAD_CORE, ROOT, Process, free_port
from sensorium import AsyncClient
from sensorium.v1.text_pb2 import StreamGenerateRequest

_TOKENS = 32
_CALLERS_PER_ROW = 4
_WARM_SECONDS = 2.0


@dataclass(frozen=True)
class Server:
    """Where a running program listens."""

    target: str
    metrics: str

    def metric(self, name: str) -> float:
        """Returns a metric without labels."""
        found = re.search(rf"^{name} (\S+)$", _read(f"{self.metrics}/metrics"), re.MULTILINE)
        assert found is not None, name
        return float(found.group(1))

    def ready(self) -> bool:
        """Whether it serves."""
        try:
            return bool(_read(f"{self.metrics}/readyz"))
        except (URLError, ConnectionError):
            return False


@dataclass(frozen=True)
class Occupancy:
    """Means over a time."""

    rows: float
    """Rows of a step."""
    tokens_per_second: float


@contextmanager
def stack(rows: int, over_commits: list[float], logs: Path) -> Iterator[tuple[Server, dict[float, Server]]]:
    """Runs the chat model with so many rows, and before it a gateway for each setting."""
    with ExitStack() as running:
        model = ("--model", str(ROOT / "models/chat"), "--max-sequences", str(rows))
        service = _start(running, logs, "services.text", *model)
        gateways = {
            factor: _start(running, logs, "gateway", "--static", service.target, "--over-commit", str(factor))
            for factor in over_commits
        }
        yield service, gateways


async def measure(target: str, service: Server, rows: int, seconds: float) -> Occupancy:
    """Returns what happens while four times as many callers as rows send one request after the other."""
    async with AsyncClient(target) as client:
        callers = [asyncio.ensure_future(_call(client, number)) for number in range(_CALLERS_PER_ROW * rows)]
        await asyncio.sleep(_WARM_SECONDS)
        before, begun = await _counts(service), time.monotonic()
        await asyncio.sleep(seconds)
        after, took = await _counts(service), time.monotonic() - begun
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    filled, steps, tokens = (later - earlier for earlier, later in zip(before, after, strict=True))
    return Occupancy(filled / steps, tokens / took)


async def _call(client: AsyncClient, number: int) -> None:
    turn = 0
    while True:
        request = StreamGenerateRequest(prompt=f"{number} {turn} Hello there, tell me")
        # Of unlike lengths, so that rows do not end together.
        request.parameters.max_new_tokens = _TOKENS // 2 + (7 * number + 13 * turn) % _TOKENS
        request.parameters.ignore_eos = True
        async for _ in client.text.stream_generate(request):
            pass
        turn += 1


async def _counts(service: Server) -> tuple[float, float, float]:
    names = ("batch_size_sum", "batch_size_count", "generation_tokens_total")
    values = [await asyncio.to_thread(service.metric, f"sensorium_engine_{name}") for name in names]
    return values[0], values[1], values[2]


def _start(running: ExitStack, logs: Path, module: str, *arguments: str) -> Server:
    port, metrics = free_port(), free_port()
    command = [sys.executable, "-m", module, *arguments, "--port", str(port), "--metrics-port", str(metrics)]
    core = 0 if module.startswith("services") else LOAD_CORE
    process = Process(command, logs / f"{module}-{port}.log", core=core)
    running.callback(process.stop)
    server = Server(f"127.0.0.1:{port}", f"http://127.0.0.1:{metrics}")
    process.wait(server.ready)
    return server


def _read(url: str) -> str:
    with urlopen(url, timeout=5) as answer:  # noqa: S310 - a port of this machine
        return answer.read().decode()
