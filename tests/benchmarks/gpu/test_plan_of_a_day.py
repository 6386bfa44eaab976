"""The parts of a day are existing commands with existing options."""

from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.main import get_command

pytest.importorskip("triton")
from benchmarks.gpu.day.plan import Part, plan

ROOT = Path(__file__).parents[3]
PARTS = plan(workers=2)


def test_names_are_told_apart() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_its_command_is_understood(part: Part) -> None:
    flag, module, *arguments = part.filled(40.0, Path("a.json"), Path("tests.jsonl"))
    assert flag == "-m"
    assert not any("{" in argument for argument in arguments)
    if module == "pytest":
        assert [path for path in arguments if path.startswith("tests/") and not (ROOT / path).exists()] == []
        return
    app = typer.Typer()
    app.command()(import_module(module_of(module)).main)
    get_command(app).make_context(module, arguments)  # raises where an option or a value is not known


def module_of(name: str) -> str:
    """Returns the module that `python -m` runs."""
    return f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name
