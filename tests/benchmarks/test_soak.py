import subprocess
import sys
from collections import Counter

import pytest

import sensorium
from benchmarks.soak.__main__ import main
from benchmarks.soak.memory import Memory, resident_mib
from benchmarks.soak.traffic import Traffic
from tests.fakes.text_service import FakeTextService


def test_growth_is_the_last_quarter_beside_the_second() -> None:
    memory = Memory("service", [10.0, 50.0, 100.0, 100.0, 100.0, 102.0, 104.0, 104.0])
    assert memory.quarters == (100.0, 104.0)
    assert memory.growth == pytest.approx(0.04)


HOLDS = """
import os, sys
print("begun", flush=True)
sys.stdin.readline()
held = bytearray(os.urandom(1 << 20) * 64)
print("held", flush=True)
sys.stdin.readline()
"""


def test_memory_of_a_process_is_seen() -> None:
    """Of one of its own: from this one, other tests may have memory given back meanwhile."""
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        before = resident_mib(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"held\n"
        assert resident_mib(process.pid) - before > 0.9 * 64
        process.stdin.close()


def told(ends: Counter[str]) -> Counter[str]:
    """Whether the deadline or the fake's error comes first to what is too late, chance decides."""
    found: Counter[str] = Counter()
    for end, count in ends.items():
        found["too late" if end.startswith("too late") else end] += count
    return found


async def test_a_request_of_a_number_is_always_the_same() -> None:
    async with FakeTextService() as service, sensorium.AsyncClient(service.address, retry=None) as client:
        first, second = Traffic(client), Traffic(client)
        for traffic in (first, second):
            for number in range(40):
                await traffic.send(number)
    assert told(first.ends) == told(second.ends)
    assert sum(first.ends.values()) == 40
    assert first.ends["stream"] > 10


def test_few_requests_tell_of_both_processes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):  # which says whether they grew: so soon they may
        main(requests=40, concurrency=8)
    told = capsys.readouterr().out
    assert "40 requests in" in told
    assert all(f"│ {name} " in told for name in ("chat", "gateway"))
