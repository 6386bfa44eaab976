from pathlib import Path

import pytest

from benchmarks.kinds import shapes
from benchmarks.kinds.contenders import Generate, running
from tests.tiny.language_models import ENCODER_DECODERS, STATEFUL


@pytest.mark.parametrize(("name", "path"), [("t5", "paged"), ("bloom", "serial")])
def test_both_contenders_answer_every_prompt(
    name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shapes.SHAPES, name, (ENCODER_DECODERS | STATEFUL)[name]())
    folder = shapes.checkpoint(name, "float32", tmp_path)
    generate = Generate(folder)
    with running(folder) as engine:
        assert engine.path == path
        assert all(contender.run([[3, 4, 5], [6]], 4) > 0 for contender in (generate, engine))
