from pathlib import Path

import pytest
import torch

from benchmarks.random_weights import made_once


def make(folder: Path) -> None:
    (folder / "weights").write_text(str(torch.rand(3).tolist()))


def make_half(folder: Path) -> None:
    make(folder)
    raise KeyboardInterrupt


def test_a_checkpoint_is_the_same_everywhere_and_made_once(tmp_path: Path) -> None:
    one, other = (made_once(tmp_path / cache, "it", make) / "weights" for cache in ("one", "other"))
    assert one.read_text() == other.read_text()
    assert made_once(tmp_path / "one", "it", make_half) == one.parent


def test_one_that_was_broken_off_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made_once(tmp_path, "it", make_half)
    with pytest.raises(KeyboardInterrupt):  # it is not taken for whole
        made_once(tmp_path, "it", make_half)
    assert made_once(tmp_path, "it", make).exists()
