import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import process as processes
from benchmarks.process import Process, SystemFailed
from benchmarks.text.pipe import PipeCaller
from benchmarks.text.sample import Prompt
from tests.forks import Forked
from tests.tiny.language_models import write_checkpoint

BACKWARDS = """
import json, sys
print("a line of a library")
print(json.dumps({"ready": True}), flush=True)
asked = [json.loads(sys.stdin.readline()) for _ in range(2)]
for one in reversed(asked):
    print(json.dumps({"id": one["id"], "times": [float(len(one["prompt"]))] * one["new_tokens"]}), flush=True)
sys.stdin.readline()
"""


def program(folder: Path, *command: str) -> Process:
    return Process([sys.executable, *command], folder / "it.log", answers=True)


async def test_answers_find_their_requests_in_any_order(tmp_path: Path) -> None:
    process = program(tmp_path, "-c", BACKWARDS)
    try:
        async with PipeCaller(process) as caller:
            asked = [caller.call([Prompt((7,) * length, 2)]) for length in (1, 5)]
            ((one,), (other,)) = await asyncio.wait_for(asyncio.gather(*asked), 300)
            ended = asyncio.create_task(caller.call([Prompt((7,), 1)]))
            (last,) = await asyncio.wait_for(ended, 300)
    finally:
        process.stop()
    assert (one.arrivals, other.arrivals) == ([1.0, 1.0], [5.0, 5.0])
    assert (other.prompt_tokens, other.output_tokens, other.error) == (5, 2, "")
    assert "ended" in last.error


def test_a_program_that_ends_before_it_is_ready_says_why(tmp_path: Path) -> None:
    process = program(tmp_path, "-c", "raise SystemExit('no model there')")
    try:
        with pytest.raises(SystemFailed, match="no model there"):
            PipeCaller(process)
    finally:
        process.stop()


async def test_the_engine_answers_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forking = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(processes, "subprocess", forking)
    process = program(tmp_path, "-m", "benchmarks.text.engine", "--model", str(write_checkpoint(tmp_path, "llama")))
    try:
        async with PipeCaller(process) as caller:
            (sample,) = await asyncio.wait_for(caller.call([Prompt((7, 8, 9), 6)]), 300)
    finally:
        process.stop()
    assert not sample.error
    assert len(sample.arrivals) == 6
    assert sample.sent < sample.arrivals[0] <= sample.arrivals[-1]
