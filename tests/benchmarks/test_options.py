from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.options import one_of

SHAPES = ("wide", "narrow")


def show(
    shape: Annotated[list[str] | None, one_of(SHAPES, help="May be repeated.")] = None,
    kind: Annotated[str, one_of(SHAPES, help="Of it.")] = "wide",
) -> None:
    print(shape, kind)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "None wide"),
        (["--shape", "wide", "--shape", "narrow", "--kind", "narrow"], "['wide', 'narrow'] narrow"),
    ],
)
def test_what_there_is_may_be_named(arguments: list[str], said: str) -> None:
    application = typer.Typer()
    application.command()(show)
    assert CliRunner().invoke(application, arguments).output == f"{said}\n"


@pytest.mark.parametrize("arguments", [["--shape", "wide", "--shape", "wied"], ["--kind", "wied"]])
def test_another_name_is_refused_with_those_there_are(arguments: list[str]) -> None:
    application = typer.Typer()
    application.command()(show)
    result = CliRunner().invoke(application, arguments)
    assert result.exit_code == 2
    assert "'wied' is none of wide, narrow" in result.output
