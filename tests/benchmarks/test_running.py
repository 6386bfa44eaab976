import os
import select
import signal
import subprocess
import sys
from pathlib import Path

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
    """Also amid a wait for what it started: an exception raised there could hang the one behind it."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom benchmarks.running import Running\n"
        "with Running(Path(sys.argv[1])) as running:\n"
        "    process = running.start('it', [sys.executable, '-c', 'import time; time.sleep(600)'], core=None)\n"
        "    print(process.popen.pid, flush=True)\n"
        "    try:\n        process.popen.wait()\n"
        "    except BaseException:\n        print('raised', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as told:
        assert told.stdout is not None
        with os.fdopen(os.pidfd_open(int(told.stdout.readline()))) as started:
            told.terminate()
            assert told.stdout.read() == ""
            assert told.wait() == -signal.SIGTERM
            assert select.select([started], [], [], 60)[0], "it is still there"


def test_the_way_signals_were_taken_is_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Running(tmp_path):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
