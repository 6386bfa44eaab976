import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gateway.config import GatewaySettings
from k8s.monitoring.files import FOLDER
from k8s.monitoring.rule import Alert
from local.tools import tool
from tests.k8s.monitoring.asked import rules

RULES = sorted(FOLDER.glob("rules/*.yaml"))
TESTS = sorted(FOLDER.glob("rules/tests/*.yaml"))
ALERTS = [rule for rule in rules() if isinstance(rule, Alert)]
CASES = [group for path in TESTS for group in yaml.safe_load(path.read_text())["tests"]]

Labels = dict[str, str]


def promtool(*arguments: object) -> str:
    command = [tool("promtool"), *map(str, arguments)]
    environment = os.environ | {"GOGC": "400"}  # it ends before a collection of its garbage could pay
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    assert promtool("check", "rules", "--lint-fatal", *RULES).count("SUCCESS") == len(RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_do_what_their_tests_say(path: Any) -> None:
    promtool("test", "rules", path)


def cases(alert: str) -> Iterator[list[Labels]]:
    """Yields, for every case of the tests that asks for an alert, the labels of those that are to fire."""
    for group in CASES:
        for case in group.get("alert_rule_test", ()):
            if case["alertname"] == alert:
                yield [fired["exp_labels"] for fired in case["exp_alerts"]]
        for case in group.get("promql_expr_test", ()):
            if f'alertname="{alert}"' in case["expr"]:
                yield [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in case["exp_samples"]]


def told_apart(alert: Alert) -> Labels:
    """What distinguishes alerts of one name."""
    return {"window": alert.labels["window"]} if "window" in alert.labels else {}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: "-".join([alert.alert, *told_apart(alert).values()]))
def test_each_alert_has_a_case_that_fires_and_one_that_stays_silent(alert: Alert) -> None:
    fires = [any(told_apart(alert).items() <= labels.items() for labels in expected) for expected in cases(alert.alert)]
    assert True in fires, "no test sees it fire"
    assert False in fires, "no test sees it stay silent"


def test_alerts_tell_what_a_person_needs() -> None:
    assert len({(alert.alert, *told_apart(alert).values()) for alert in ALERTS}) == len(ALERTS) >= 24
    for alert in ALERTS:
        assert alert.severity in {"critical", "warning"}
        assert alert.summary.endswith(".")
        assert alert.description.endswith(".")


def test_a_pool_that_comes_back_from_zero_alarms_nobody() -> None:
    """The longest that a manifest lets calls wait for it is no longer than the alert does."""
    (alert,) = (alert for alert in ALERTS if alert.alert == "NoReadyEndpoints")
    texts = [path.read_text() for path in FOLDER.parent.rglob("*") if path.suffix in {".yaml", ".env"}]
    waits = [int(found) for text in texts for found in re.findall(r"SENSORIUM_COLD_START_SECONDS=(\d+)", text)]
    waits.append(int(GatewaySettings.model_fields["cold_start_seconds"].default))
    assert max(waits) <= 60 * int(alert.lasting.removesuffix("m"))
