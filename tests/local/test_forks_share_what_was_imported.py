import subprocess
import sys
from pathlib import Path

from local import nursery

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys
from pathlib import Path
from local import nursery

nursery._PRELOADED = nursery._PRELOADED[-1:]  # the others take seconds to import
fork = nursery.Fork("counting", "tests.fakes.frozen", [], Path(sys.argv[1]))
fork._process.join()
print(fork.exit_code, fork.last_lines())
"""


def test_no_search_for_garbage_walks_through_what_the_fork_server_has_imported(tmp_path: Path) -> None:
    assert nursery._PRELOADED[-1] == "local.frozen"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "log")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    code, count = map(int, done.stdout.split())
    assert code == 0
    assert count > 1000
    assert not done.stderr
