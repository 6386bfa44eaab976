import importlib
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


def test_what_every_service_would_do_as_it_loads_is_done_before_the_fork() -> None:
    assert nursery._PRELOADED[-2] == "local.prepared"
    importlib.import_module("local.prepared")
    from services.engine.images.processor import show_image_processors

    assert show_image_processors.cache_info().currsize == 1
    mapping = importlib.import_module("transformers.conversion_mapping")
    assert mapping._checkpoint_conversion_mapping_cache
