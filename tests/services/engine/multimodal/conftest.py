from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.engine.multimodal.rig import Rig
from tests.tiny import multimodal_models as tiny


@pytest.fixture(scope="module")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_checkpoint(tmp_path_factory.mktemp("llava"), "llava")


@pytest.fixture(scope="module")
def llava(llava_folder: Path) -> Iterator[Rig]:
    """Its engine keeps what it has seen: each test shows images of its own."""
    rig = Rig.start(llava_folder, "llava", max_sequences=6, prefill_tokens=23)
    yield rig
    rig.built.engine.close()
