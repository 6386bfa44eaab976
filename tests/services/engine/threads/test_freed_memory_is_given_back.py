"""Large media take much memory for a while. It is the system's again once it is quiet."""

import ctypes
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from types import SimpleNamespace

import pytest
from PIL import Image

from services.engine.admission import Admission, QueueLimits
from services.engine.media import image
from services.engine.threads import freed_memory, turns
from services.engine.threads.freed_memory import FreedMemory
from services.engine.threads.preprocessing import Preprocessing
from services.engine.threads.turns import hold_much
from tests.waiting import until

PIECE, PIECES = 64 << 10, 2000


@pytest.fixture
def preprocessing() -> Iterator[Preprocessing]:
    made = Preprocessing(Admission(QueueLimits(requests=99)))
    yield made
    made.close()


class Clock:
    """A time that a test moves, and the timers that were set by it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def monotonic(self) -> float:
        return self.now

    def timer(self, seconds: float, function: Callable[[], object]) -> SimpleNamespace:
        return SimpleNamespace(start=lambda: self.timers.append((self.now + seconds, function)))

    def pass_to(self, moment: float) -> None:
        self.now = moment
        (due,) = self.timers
        self.timers.clear()
        assert due[0] == moment
        due[1]()


def test_it_is_given_back_some_time_behind_the_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, given = Clock(), list[float]()
    monkeypatch.setattr(freed_memory, "time", clock)
    monkeypatch.setattr(freed_memory, "threading", SimpleNamespace(Timer=clock.timer, Lock=threading.Lock))
    memory = FreedMemory(lambda: given.append(clock.now), 5)
    for clock.now in (100, 101, 103):
        memory.used()
    clock.pass_to(105)
    assert given == []
    clock.pass_to(108)
    assert (given, clock.timers) == ([108], [])
    memory.used()
    clock.pass_to(113)
    assert given == [108, 113]


async def test_a_thread_of_its_own_gives_it_back() -> None:
    given: list[str] = []
    FreedMemory(lambda: given.append(threading.current_thread().name), 0.01).used()
    await until(lambda: len(given) == 1)
    assert given != [threading.current_thread().name]


def decoded(side: int) -> Callable[[], object]:
    file = BytesIO()
    Image.new("RGB", (side, side)).save(file, "PNG")
    return lambda: image.decode_image(file.getvalue(), "", image.ImageLimits(10**6, 10**6, 10**3))


@pytest.mark.parametrize(
    ("work", "much"),
    [(decoded(10), True), (hold_much, True), (decoded(9), False)],
    ids=["a large image", "what holds much", "a small image"],
)
async def test_what_takes_much_is_told_behind_the_work(
    preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], much: bool
) -> None:
    told: list[str] = []
    monkeypatch.setattr(turns, "FREED_MEMORY", SimpleNamespace(used=lambda: told.append("used")))
    monkeypatch.setattr(image, "_MUCH", 99)

    def whole() -> None:
        work()
        told.append("done")

    await preprocessing.run(whole)
    await preprocessing.run(lambda: None)  # tells nothing of what another took
    assert told == (["done", "used"] if much else ["done"])


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="there is no glibc here")
def test_the_system_gets_it() -> None:
    """A process of its own: this one may hold free pages from earlier tests, which the pieces would take first."""
    command = [sys.executable, "-c", _FREES_PIECES, str(PIECE), str(PIECES)]
    before, held, after = map(int, subprocess.check_output(command, text=True, timeout=60).split())
    assert held - before > PIECE * PIECES / 2
    assert after - before < PIECE * PIECES / 2


_FREES_PIECES = """
# Frees, in a thread, 19 of 20 pieces: glibc keeps the pages between those that stay. Prints what is resident.
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.engine.threads.freed_memory import trim

piece, pieces = map(int, sys.argv[1:])

def take():
    return [bytearray(b"x" * piece) for _ in range(pieces)][::20]

def print_resident():
    print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)

with ThreadPoolExecutor(1) as other:
    other.submit(int).result()
    print_resident()
    kept = other.submit(take).result()
    print_resident()
    trim()
    print_resident()
"""
