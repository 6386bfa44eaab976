import os
import signal
import subprocess
import sys
from pathlib import Path

from services.engine.parallel.followers import Followers
from tests.waiting import until

ROOT = Path(__file__).parents[4]
MODULE = "tests.fakes.follower"
LEADER = f"""
import time
from services.engine.parallel.followers import Followers
followers = Followers("{MODULE}", ["{{0}}"])
time.sleep(60)
"""


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def started(program: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)


async def test_followers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    leader = started(LEADER.format(said))
    await until(said.exists)
    follower = int(said.read_text())
    assert runs(follower)
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    await until(lambda: not runs(follower))


async def test_one_that_ends_is_told_of_and_the_others_are_let_go(tmp_path: Path) -> None:
    paths = [tmp_path / "first", tmp_path / "second"]
    both = Followers(MODULE, list(map(str, paths)))
    await until(lambda: all(path.exists() for path in paths))
    assert (both.lost, both.ended) == ("", 0)
    os.kill(int(paths[1].read_text()), signal.SIGKILL)
    await until(lambda: both.lost != "")
    assert both.lost.startswith("Rank 2 has ended with code -9")
    assert both.ended == 1
    both.close()
    assert not any(runs(int(path.read_text())) for path in paths)
