"""Every metric, label and value that a board, a rule or a scaler asks for is exported by somebody."""

import re

import pytest

from tests.k8s.monitoring.asked import questions
from tests.k8s.monitoring.expression import Metrics, Reading, Values, parse
from tests.k8s.monitoring.known import FOREIGN, OWN, VALUES

QUESTIONS = list(questions())
NOT_SHOWN: set[str] = set()
"""Metrics of the code that neither a board nor a rule asks for. Each needs a reason beside it."""


def read(own: Metrics, values: Values, about: str = "") -> Reading:
    """Reads all that is asked `about` something, against the metrics `own` beside those of others."""
    known = {**own, **FOREIGN}
    reading = Reading(known, values)
    for question in QUESTIONS:
        if about in question.expr:
            labels = reading.labels_of(parse(question.expr)) | question.labels
            reading.complaints += [f"{question.where}: no label {name}" for name in sorted(question.named - labels)]
            if question.record:
                known[question.record] = labels
    return reading


NOW = read(OWN, VALUES)


def test_all_that_is_asked_for_is_there() -> None:
    assert NOW.complaints == []


@pytest.mark.parametrize("name", sorted(OWN.keys() & NOW.used))
def test_a_metric_that_is_renamed_is_noticed(name: str) -> None:
    renamed = {f"{known}_new" if known == name else known: labels for known, labels in OWN.items()}
    assert f"no metric {name}" in read(renamed, VALUES, name).complaints


@pytest.mark.parametrize(("name", "label"), sorted((name, label) for name, label in NOW.used_labels if name in OWN))
def test_a_label_that_is_renamed_is_noticed(name: str, label: str) -> None:
    renamed = OWN | {name: OWN[name] - {label}}
    assert f"{name} has no label {label}" in read(renamed, VALUES, name).complaints


@pytest.mark.parametrize(
    ("name", "label", "value"),
    [
        ("sensorium_gateway_requests_total", "code", "UNAVAILABLE"),
        ("sensorium_gateway_endpoints", "state", "ready"),
        ("sensorium_gateway_admission_total", "outcome", "expired"),
        ("sensorium_gateway_attempts_total", "result", "budget_exhausted"),
        ("sensorium_gateway_tokens_total", "direction", "output"),
        ("gen_ai_server_time_to_first_token_seconds_bucket", "le", "2.5"),
    ],
)
def test_a_value_that_is_renamed_is_noticed(name: str, label: str, value: str) -> None:
    renamed = dict(VALUES) | {(name, label): VALUES[name, label] - {value}}
    assert f"{name} has no {label} {value}" in read(OWN, renamed, name).complaints


def test_every_metric_is_asked_for_somewhere() -> None:
    """A histogram is, by any of its series."""
    asked, own = ({re.sub(r"_(bucket|sum|count)$", "", name) for name in names} for names in (NOW.used, OWN))
    assert own - asked == NOT_SHOWN
