"""Measures how many rows of the engine's batch are in use while there are more callers than rows."""

import asyncio
import re
import time
from dataclasses import dataclass
from urllib.request import urlopen

from benchmarks.process import LOAD_CORE, ROOT
from benchmarks.running import Running, Server
from sensorium import AsyncClient
from sensorium.v1.text_pb2 import StreamGenerateRequest

_TOKENS = 32
_CALLERS_PER_ROW = 4
_WARM_SECONDS = 2.0


@dataclass(frozen=True)
class Occupancy:
    """Means over the measured time."""

    rows: float
    """Rows per step."""
    tokens_per_second: float


def stack(running: Running, rows: int, over_commits: list[float]) -> tuple[Server, list[Server]]:
    """Starts the chat model with this many rows, and a gateway in front of it for each over-commit factor."""
    model = ("--model", str(ROOT / "models/chat"), "--device", "cpu")
    service = running.serve("services.text", *model, "--max-sequences", str(rows))
    gateways = [
        running.serve(
            "gateway", "--static", service.address, "--over-commit", str(factor),
            name=f"gateway-{factor:g}", core=LOAD_CORE,
        )
        for factor in over_commits
    ]  # fmt: skip
    return service, gateways


async def measure(front: Server, service: Server, rows: int, seconds: float) -> Occupancy:
    """Measures the service while four callers per row send request after request to `front`."""
    async with AsyncClient(front.address) as client:
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
        # Different lengths, so that rows do not end together.
        request.parameters.max_new_tokens = _TOKENS // 2 + (7 * number + 13 * turn) % _TOKENS
        request.parameters.ignore_eos = True
        async for _ in client.text.stream_generate(request):
            pass
        turn += 1


async def _counts(service: Server) -> list[float]:
    """Returns three counters of the service: rows of all steps, steps, generated tokens."""
    text = await asyncio.to_thread(_metrics, service)
    return [
        _metric(text, f"sensorium_engine_{name}")
        for name in ("batch_size_sum", "batch_size_count", "generation_tokens_total")
    ]


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def _metrics(server: Server) -> str:
    with urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=5) as answer:
        return answer.read().decode()
