"""A service whose model is divided among two processes: it starts the other one, or torchrun starts both."""

import asyncio
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sensorium import AsyncClient, Unavailable
from sensorium.v1 import models_pb2
from sensorium.v1.text_pb2 import StreamGenerateResponse
from services.watchdog import DEVICE_FAILED
from tests.e2e.conftest import Checkpoints
from tests.e2e.processes import Server, server
from tests.e2e.requests import read, request
from tests.tiny.language_models import greedy, write_checkpoint
from tests.waiting import PATIENCE, until

DIVIDED = ("--tensor-parallel", "2", "--device", "auto", "--dtype", "float32", "--drain-delay-seconds", "0")


def children(pid: int) -> list[int]:
    """Returns the processes that one has started."""
    return [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]


def runs(pid: int) -> bool:
    """Returns whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ranks_of(running: Server) -> list[int]:
    """Returns the other ranks that a service has started."""
    found = children(running.process.pid)
    return [pid for pid in found if b"follower" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def metric(running: Server, name: str) -> float:
    """Returns a metric without labels."""
    told = re.search(r"metrics on (\S+)", running.log)
    assert told
    with urllib.request.urlopen(f"http://{told[1]}/metrics") as page:
        found = re.search(rf"^{name} (\S+)$", page.read().decode(), re.MULTILINE)
    assert found
    return float(found[1])


async def test_a_lost_rank_ends_the_service(tmp_path: Path) -> None:
    """Streams end so that a gateway takes them elsewhere, and the process so that it is started anew."""
    folder = write_checkpoint(tmp_path / "llama", "llama", context=8192)
    async with server(tmp_path / "log", "services.text", "--model", str(folder), *DIVIDED, forked=True) as running:
        async with AsyncClient(running.address, retry=None, timeout=PATIENCE) as client:
            info = (await client.models.get_model(models_pb2.GetModelRequest())).model
            assert len(info.rank_bytes) == 2
            assert min(info.rank_bytes) > 0
            answer = await read(client, request([9, 11, 13], max_new_tokens=9, temperature=0))
            assert answer.token_ids == greedy(folder, [9, 11, 13], 9)
            assert await asyncio.to_thread(metric, running, "sensorium_engine_ranks") == 2
            assert await asyncio.to_thread(metric, running, "sensorium_engine_telling_seconds_total") > 0
            stream: AsyncIterator[StreamGenerateResponse] = aiter(
                client.text.stream_generate(request([9], max_new_tokens=8000, ignore_eos=True))
            )
            for _ in range(3):
                await anext(stream)
            (other,) = ranks_of(running)
            os.kill(other, signal.SIGKILL)
            with pytest.raises(Unavailable):
                async for _ in stream:
                    pass
        await until(lambda: running.ended)
    assert running.process.returncode == DEVICE_FAILED
    assert "rank_lost" in running.log


async def test_torchrun_starts_the_ranks(checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoints("llama")
    log = tmp_path / "log"
    started = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "services.text")
    async with server(log, *started, "--model", str(folder), *DIVIDED, forked=True) as running:
        async with AsyncClient(running.address, retry=None, timeout=PATIENCE) as client:
            answer = await read(client, request([9, 11, 13], max_new_tokens=9, temperature=0))
            assert answer.token_ids == greedy(folder, [9, 11, 13], 9)
        ranks = children(running.process.pid)
        running.process.send_signal(signal.SIGTERM)
        await until(lambda: running.ended)
        await until(lambda: not any(map(runs, ranks)))
    assert "draining" in running.log
