import re
from pathlib import Path

import pytest

from gateway.config import GatewaySettings
from k8s.monitoring.rule import RUNBOOKS
from sensorium.rpc.configuration import flag
from services.text.config import TextSettings
from tests.k8s.monitoring.expression import Reading, parse
from tests.k8s.monitoring.known import VALUES
from tests.k8s.monitoring.test_names_exist import NOW
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


def test_settings_that_the_pages_name_exist() -> None:
    fields = {*GatewaySettings.model_fields, *TextSettings.model_fields}
    flags, variables = {flag(name) for name in fields}, {f"SENSORIUM_{name.upper()}" for name in fields}
    for path in FOLDER.glob("*.md"):
        text = path.read_text()
        assert set(re.findall(r"`(--[a-z-]+)`", text)) <= flags, path.name
        assert set(re.findall(r"`(SENSORIUM_\w+)`", text)) <= variables, path.name


def test_the_queries_of_the_pages_ask_for_what_there_is() -> None:
    for path in FOLDER.glob("*.md"):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL):
            for query in block.splitlines():
                reading = Reading(NOW.metrics, VALUES)
                reading.labels_of(parse(query))
                assert reading.complaints == [], path.name
