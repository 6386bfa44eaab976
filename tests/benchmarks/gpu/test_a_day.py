"""A day with a simulated GPU: parts fail, hang, and leave processes behind."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

COURSE = """
import sys
from pathlib import Path
from benchmarks.gpu.day.course import Course
from benchmarks.gpu.day.plan import Part
def summary(outcomes, tests):
    return ", ".join(f"{one.name}: {one.status}" for one in outcomes)
minutes, folder, *parts = sys.argv[1:]
made = [Part(code.splitlines()[0], ("-c", code, "{json}", "{outcomes}"), float(seconds))
        for seconds, code in zip(parts[::2], parts[1::2], strict=True)]
Course(Path(folder), float(minutes), summary).run(made)
"""
WRITES = """# writes
import sys, pathlib
pathlib.Path(sys.argv[1]).write_text('{"rate": 7}')
pathlib.Path(sys.argv[2]).open("a").write("a test\\n")
print("all went well")
"""
FAILS = "# fails\nraise SystemExit('it broke')"
HANGS = """# hangs
import json, os, pathlib, subprocess, sys, time
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path(sys.argv[1]).with_suffix(".new").write_text(json.dumps([os.getpid(), left.pid]))
pathlib.Path(sys.argv[1]).with_suffix(".new").replace(sys.argv[1])
time.sleep(600)
"""


def begun(folder: Path, minutes: float, *parts: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", COURSE, str(minutes), str(folder), *parts])


def told(folder: Path) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in json.loads((folder / "day.json").read_text())}


def test_a_part_that_fails_or_hangs_costs_its_share_only(tmp_path: Path) -> None:
    assert begun(tmp_path, 30, "0.5", HANGS, "600", FAILS, "600", WRITES).wait() == 0
    found = told(tmp_path)
    assert {name: one["status"] for name, one in found.items()} == {
        "# hangs": "cut off",
        "# fails": "failed",
        "# writes": "done",
    }
    assert (found["# writes"]["figures"], found["# fails"]["tail"]) == ({"rate": 7}, "it broke")
    assert (tmp_path / "summary.md").read_text() == "# hangs: cut off, # fails: failed, # writes: done"
    logs = (tmp_path / "logs.txt").read_text()
    assert logs.index("it broke") < logs.index("all went well")
    assert (tmp_path / "tests.jsonl").read_text() == "a test\n"
    assert len(list(tmp_path.iterdir())) <= 8


def test_what_there_is_when_it_is_told_to_stop_is_kept_and_nothing_goes_on(tmp_path: Path) -> None:
    day = begun(tmp_path, 30, "600", WRITES, "600", HANGS, "600", WRITES.replace("writes", "writes again"))
    running, pids = tmp_path / "running.json", None
    while not isinstance(pids, list):  # while the part before has left something else there, or nothing
        assert day.poll() is None
        time.sleep(0.05)
        with suppress(FileNotFoundError):
            pids = json.loads(running.read_text() or "null")
    day.send_signal(signal.SIGTERM)
    assert day.wait() == 0
    found = told(tmp_path)
    assert {name: one["status"] for name, one in found.items()} == {"# writes": "done", "# hangs": "interrupted"}
    assert (found["# writes"]["figures"], found["# hangs"]["figures"]) == ({"rate": 7}, pids)
    assert "# hangs: interrupted" in (tmp_path / "summary.md").read_text()
    give_up = time.monotonic() + 60  # far less than they would go on by themselves
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):  # noqa: PTH110
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_no_part_begins_without_time_for_it(tmp_path: Path) -> None:
    assert begun(tmp_path, 0.4, "600", WRITES).wait() == 0
    assert told(tmp_path)["# writes"]["status"] == "not begun"
