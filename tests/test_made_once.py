from pathlib import Path

import pytest
import torch

from tests.made_once import written_once


def test_a_checkpoint_is_written_once_for_the_same_arguments_and_each_caller_may_change_his(tmp_path: Path) -> None:
    written: list[int] = []

    @written_once
    def write(folder: Path, *, seed: int = 0) -> Path:
        written.append(seed)
        torch.manual_seed(seed)
        (folder / "codec").mkdir(parents=True)
        (folder / "weights").write_text(str(torch.rand(1)))
        (folder / "codec" / "named.json").write_text(f'"{folder}/codec"')
        return folder

    first = write(tmp_path / "first")
    drawn = torch.rand(1)
    own = (first / "weights").read_text()
    (first / "weights").write_text("changed")
    second = write(tmp_path / "second")
    assert torch.equal(torch.rand(1), drawn)
    assert (second / "weights").read_text() == own
    assert (second / "codec" / "named.json").read_text() == f'"{second}/codec"'
    assert (write(tmp_path / "third", seed=1) / "weights").read_text() != own
    assert written == [0, 1]


def test_what_draws_nothing_for_others_leaves_their_generator_alone(tmp_path: Path) -> None:
    @written_once
    def write(folder: Path) -> Path:
        with torch.random.fork_rng():
            torch.rand(3)
        return folder

    for name in "ab":
        before = torch.get_rng_state()
        write(tmp_path / name)
        assert torch.equal(torch.get_rng_state(), before)


def test_arguments_that_are_told_by_their_address_are_refused(tmp_path: Path) -> None:
    @written_once
    def write(folder: Path, made: object) -> Path:
        raise AssertionError(f"{folder}, {made}")

    with pytest.raises(AssertionError, match="by its address"):
        write(tmp_path, object())
