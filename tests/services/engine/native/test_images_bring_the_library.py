"""An image has no compiler, and runs on other machines than the one that built it."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from services.engine.native import library
from services.engine.native.levels import levels, usable

OLD = frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"])
SKYLAKE = OLD | frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])


@pytest.mark.parametrize(
    ("features", "best"),
    [
        (frozenset({"sse4_2", "avx"}), None),
        (OLD, "v3"),
        (OLD | {"avx512f"}, "v3"),
        (SKYLAKE, "v4"),
        (SKYLAKE | {"avx512_bf16"}, "v4-bf16"),
        (SKYLAKE | {"avx512_bf16", "amx_bf16", "amx_tile"}, "v4-amx"),
    ],
)
def test_the_most_able_level_that_runs_is_chosen(features: frozenset[str], best: str | None) -> None:
    assert next((level.name for level in usable(features, "x86_64")), None) == best


def test_a_level_never_needs_less_than_one_after_it() -> None:
    needs = [level.needs for level in levels("x86_64")]
    assert all(more > less for more, less in pairwise(needs))


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler on this machine")
def test_what_was_built_is_found_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = library.load_library()
    monkeypatch.setattr(library, "BUILT", tmp_path / "built")
    monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, "-O0"))  # in a tenth of the time: nothing is computed here
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (best, *_) = usable(frozenset(library._features().split()))
    monkeypatch.setattr(library, "levels", lambda: (best,))  # a real image has all levels
    made = library.build_levels(tmp_path / "built")
    monkeypatch.setenv("CC", "no-such-compiler")
    loaded = library.load_library.__wrapped__()
    assert loaded is not None and native is not None
    assert not (tmp_path / "cache").exists()
    # The level's library makes the same choices as one that is compiled on this machine.
    assert loaded.linear_pays == native.linear_pays

    for path in made:
        path.unlink()
    assert library.load_library.__wrapped__() is None


def test_a_user_without_a_home_gets_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    folder = library._folder()
    assert folder.is_dir()
    folder.rmdir()
