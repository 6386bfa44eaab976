from pathlib import Path
from typing import Self

import pytest

from local import stack
from local.fleet import fleet
from local.stack import Ports, Stack, StackFailed


class Clock:
    """Stands for the module `time`."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stack, "time", made)
    return made


class Slow(Stack):
    """Starts nothing. Models become ready one by one, each after half of STALLED_SECONDS; the last may never."""

    def __init__(self, clock: Clock, *, stalls: bool) -> None:
        super().__init__(Ports.free(1), fleet()[:1])
        self.clock = clock
        self.stalls = stalls

    def __enter__(self) -> Self:
        return self

    def _progress(self, client: object) -> str:
        left = 4 - int(self.clock.now / (stack.STALLED_SECONDS / 2))
        return f"loading {left}" if left > 0 else "loading the last" if self.stalls else ""


def test_a_slow_start_with_progress_is_waited_for(clock: Clock) -> None:
    with Slow(clock, stalls=False) as slow:
        assert list(dict.fromkeys(slow.wait_ready())) == ["loading 4", "loading 3", "loading 2", "loading 1"]
        assert clock.now > stack.STALLED_SECONDS


def test_a_stalled_start_fails_and_names_what_is_missing(clock: Clock) -> None:
    with Slow(clock, stalls=True) as slow, pytest.raises(StackFailed, match="nothing has changed: loading the last"):
        list(slow.wait_ready())


def test_progress_is_one_short_line() -> None:
    members = fleet()
    assert len(stack.progress([member.name for member in members], len(members))) < 80
    assert stack.progress(["chat"], 22) == "21 of 22 models ready, loading chat"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512bw\n", []),
        ("flags\t\t: fpu avx avx2\n", ["--dtype", "float32"]),
        ("Features\t: fp asimd bf16\n", []),
        (None, []),
    ],
)
def test_bfloat16_is_avoided_where_it_is_emulated(tmp_path: Path, cpuinfo: str | None, expected: list[str]) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    assert stack.element_type(path) == expected
