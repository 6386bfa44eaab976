import os
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.running import Running
from benchmarks.text.caller import GrpcCaller
from benchmarks.text.sample import Prompt


async def test_servers_serve_inside_and_end_behind(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        service = running.serve("benchmarks.transport.service", "--step-seconds", "0.001", core=None)
        gateway = running.serve("gateway", "--static", service.address, core=None)
        for server in (service, gateway):
            async with GrpcCaller(server.port) as caller:
                (sample,) = await caller.call([Prompt((1, 2, 3), 5)])
            assert (sample.error, len(sample.arrivals)) == ("", 5)
            assert server.process.processor_seconds() > 0
    assert [server.process.popen.returncode for server in (service, gateway)] == [0, 0]


def test_what_is_told_to_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Running(tmp_path) as running:
        process = running.start("it", [sys.executable, "-c", "import time; time.sleep(600)"], core=None)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert process.popen.returncode == -signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
