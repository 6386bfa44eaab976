import re
from pathlib import Path

import pytest
from typer.main import get_command

from k8s.monitoring.rule import RUNBOOKS
from sensorium.cli.app import application
from tests.k8s.monitoring.test_rules_fire_and_stay_silent import ALERTS

ROOT = Path(__file__).parent.parent.parent.parent
FOLDER = ROOT / RUNBOOKS
NAMES = sorted({alert.alert for alert in ALERTS})


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_page_that_says_what_to_see_and_do(name: str) -> None:
    page = (FOLDER / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["What it means", "See", "Do"]
    assert len(re.findall(r"```(?:console|promql)\n", page)) >= 1, "without a command"


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {*NAMES, "README"}


def test_the_list_of_pages_is_whole() -> None:
    listed = re.findall(r"\]\((\w+)\.md\)", (FOLDER / "README.md").read_text())
    assert sorted(listed) == NAMES


def test_commands_of_the_pages_exist() -> None:
    known = set(get_command(application()).commands)  # type: ignore[attr-defined]
    for path in FOLDER.glob("*.md"):
        for command in re.findall(r"^(?:\.venv/bin/)?sensorium (\w+)", path.read_text(), re.MULTILINE):
            assert command in known, f"{path.name}: {command}"
