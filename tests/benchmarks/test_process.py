import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.machine import CpuTime, cpu_time, foreign_cores
from benchmarks.process import SERVER_CORE, Process, SystemFailed

PRINT = (
    "import os; print(os.environ['OMP_NUM_THREADS'], os.sched_getaffinity(0), flush=True); import time; time.sleep(60)"
)


@pytest.mark.skipif(SERVER_CORE not in os.sched_getaffinity(0), reason="the servers' core is not ours to give")
def test_a_program_runs_on_its_core_and_ends(tmp_path: Path) -> None:
    mine = os.sched_getaffinity(0)
    log = tmp_path / "logs/it.log"
    process = Process([sys.executable, "-c", PRINT], log)
    try:
        process.wait(lambda: "}" in log.read_text())
        assert process.last_lines() == f"1 {{{SERVER_CORE}}}"
        assert os.sched_getaffinity(0) == mine
    finally:
        process.stop()
    assert process.popen.returncode is not None


def test_a_program_that_ends_at_once_says_why(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "raise SystemExit('no model there')"], tmp_path / "it.log")
    try:
        with pytest.raises(SystemFailed, match="no model there"):
            process.wait(lambda: False)
    finally:
        process.stop()


def test_what_a_program_printed_is_told_when_it_has_ended(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "print('loading', 7, sep='\\n')"], tmp_path / "it.log", answers=True)
    try:
        assert process.output() == ["loading", "7"]
    finally:
        process.stop()


def test_what_a_program_printed_before_it_failed_is_no_answer(tmp_path: Path) -> None:
    code = "print(7); raise SystemExit('no model there')"
    process = Process([sys.executable, "-c", code], tmp_path / "it.log", answers=True)
    try:
        with pytest.raises(SystemFailed, match="no model there"):
            process.output()
    finally:
        process.stop()


def test_foreign_time_is_what_is_busy_and_not_ours() -> None:
    assert foreign_cores(CpuTime(0, busy=10, own=2), CpuTime(2, busy=13, own=4)) == 0.5


def test_work_of_this_process_is_its_own() -> None:
    before = cpu_time(set())
    give_up = time.monotonic() + 60
    while (after := cpu_time(set())).own - before.own < 0.2 and time.monotonic() < give_up:
        sum(range(100_000))
    assert after.own - before.own >= 0.2
    assert after.busy - before.busy >= 0.15
