"""The records in docs/adr: numbers, their one shape, and the list of all of them."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent.parent / "docs/adr"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))


def number(decision: Path) -> int:
    return int(decision.name[:4])


def test_numbers_are_unique() -> None:
    assert len({number(decision) for decision in DECISIONS}) == len(DECISIONS)


@pytest.mark.parametrize("decision", DECISIONS, ids=number)
def test_a_record_has_number_status_and_the_three_parts(decision: Path) -> None:
    text = decision.read_text()
    assert text.startswith(f"# {number(decision)}. ")
    assert "\n**Status:** " in text
    parts = [heading.split(":")[0] for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)]
    assert list(dict.fromkeys(parts)) == ["Context", "Decision", "Consequences"]


def test_every_record_is_listed_once_by_its_title() -> None:
    listed = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+)\) \| .+ \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    titles = [(decision.read_text().partition("\n")[0], decision.name) for decision in DECISIONS]
    assert sorted((f"# {index}. {title}", name) for index, title, name in listed) == sorted(titles)
