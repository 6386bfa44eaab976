import pytest

from tests.k8s.rendering import OVERLAYS
from tests.k8s.snapshots import FOLDER, path_of, snapshot


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_render_to_what_was_reviewed(name: str) -> None:
    assert path_of(name).read_text() == snapshot(name), "run `make manifests` and read the difference"


def test_no_snapshot_is_left_over() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(OVERLAYS)
