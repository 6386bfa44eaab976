"""A real Prometheus scrapes a gateway and services of every modality under load: every query has a result."""

import math
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql
import pytest

from k8s.monitoring.board import Board
from k8s.monitoring.boards import BOARDS
from k8s.monitoring.objectives import OBJECTIVES
from k8s.monitoring.promql import filled
from local.boards.answer import Span, answers
from local.boards.sheet import sheet
from local.fleet import fleet
from local.prometheus import Prometheus
from local.scraping import NAMESPACE, configuration, rules
from local.stack import Ports, Stack
from local.traffic import Traffic
from tests.k8s.monitoring.asked import questions
from tests.local.foreign import SERIES, exporter

MEMBERS = {"chat", "digits", "transcriber", "synthesizer", "image-chat"}
HERE = {
    'namespace="sensorium"': f'namespace="{NAMESPACE}"',
    'pool="text"': 'pool="chat"',
    'pool="vision"': 'pool="digits"',
    'pool="speech"': 'pool="transcriber"',
    'pool="multimodal"': 'pool="image-chat"',
}
"""Label values that autoscaler queries use in a cluster, and their values in this stack."""
ASKED = 'count(sum by (model) (rate(sensorium_gateway_requests_total{code="OK", model!="other"}[5m])) > 0)'
PROPOSED = "sum(rate(sensorium_engine_proposed_tokens_total[5m])) > 0"
"""Has a value while tokens are proposed. On a busy machine, engines stop proposing for a while."""
OF_SLOWNESS = {objective.alert for objective in OBJECTIVES if objective.threshold is not None} | {
    *("PoolSaturated", "QueueExpiring", "EventLoopLag", "LoadReportsStale"),
}
"""Alerts that are right to fire where a machine is too slow for the load."""
QUESTIONS = [question for question in questions() if not question.where.startswith("$")]
COMPARISONS = {">", "<", ">=", "<=", "==", "!="}


@dataclass
class Observed:
    """A stack under load since `start`."""

    prometheus: Prometheus
    stack: Stack
    start: float


pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    members = [member for member in fleet() if member.name in MEMBERS]
    with exporter() as others:
        ports = Ports.free(len(members))
        config = configuration(ports, members)
        target = {"targets": [f"127.0.0.1:{others}"]}
        config["scrape_configs"].append({"job_name": "others", "honor_labels": True, "static_configs": [target]})
        with Stack(ports, members) as stack:
            for _ in stack.wait_ready():
                pass
            with Prometheus(config, rules()) as prometheus, Traffic(stack.target, members):
                start = time.time()
                while [series.value for series in prometheus.now(ASKED)] != [len(MEMBERS)] or not prometheus.now(
                    PROPOSED
                ):
                    assert time.time() < start + 600, "some model was never asked, or proposed no tokens"
                    time.sleep(0.5)
                time.sleep(3)  # until every rule has seen it
                yield Observed(prometheus, stack, start)


def measured(node: Any) -> Iterator[str]:
    """Yields the parts of an expression that must have values: of a condition, both compared sides.

    The condition itself has no values while it is false, as that of a silent alert.
    """
    if isinstance(node, promql.ParenExpr):
        yield from measured(node.expr)
    elif isinstance(node, promql.BinaryExpr) and (
        str(node.op) in COMPARISONS | {"and", "unless"} or (str(node.op) == "or" and conditional(node))
    ):
        yield from measured(node.lhs)
        yield from measured(node.rhs)
    elif isinstance(node, promql.Call) and node.func.name == "absent":
        yield from measured(node.args[0])
    else:
        yield node.prettify()


def conditional(node: Any) -> bool:
    """Returns whether a side of an `or` is a comparison or an `absent`."""
    return any(
        (isinstance(side, promql.BinaryExpr) and str(side.op) in COMPARISONS)
        or (isinstance(side, promql.Call) and side.func.name == "absent")
        for side in (node.lhs, node.rhs)
    )


def test_every_expression_has_values(observed: Observed) -> None:
    """Tries for minutes: rare events may be missing in the few seconds that one query looks back."""
    asked: set[tuple[str, str]] = set()
    for question in QUESTIONS:
        expression = filled(question.expr, "10s")
        for there, here in HERE.items():
            expression = expression.replace(there, here)
        asked |= {(question.where, part) for part in measured(promql.parse(expression))}
    end = time.monotonic() + 1200
    while asked := {each for each in asked if not has_values(observed.prometheus, each[1])}:
        assert time.monotonic() < end, f"nothing is shown of {sorted(asked)}"
        time.sleep(0.5)


def has_values(prometheus: Prometheus, part: str) -> bool:
    return any(math.isfinite(series.value) for series in prometheus.now(part))


def test_only_metrics_of_others_are_made_up(observed: Observed) -> None:
    """The fake exporter serves no metric of the gateway or the services."""
    assert all(not name.startswith(("sensorium", "gen_ai")) for name in SERIES)
    found = {series.labels["job"] for series in observed.prometheus.now('{__name__=~"sensorium_.*|gen_ai_.*"}')}
    assert found - {""} == {"sensorium-gateway", "sensorium-model-server"}


def test_prometheus_evaluates_every_rule(observed: Observed) -> None:
    groups = observed.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == sum(question.record is not None for question in QUESTIONS) + len(
        [rule for rule in rules if rule["type"] == "alerting"]
    )
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert firing <= OF_SLOWNESS


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_board_is_drawn_whole(board: Board, observed: Observed) -> None:
    span = Span(observed.start, time.time(), step=1, interval=5)
    picture = sheet(board, lambda panel: answers(observed.prometheus, panel, span), span)
    texts = [
        "".join(part.itertext()) for part in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert "No data" not in texts
    assert all(any(text.startswith(panel.title[:20].rstrip()) for text in texts) for panel in board.panels)
    assert picture.count("<polyline") > len(board.panels) / 2


def test_top_shows_the_same(observed: Observed) -> None:
    ports = observed.stack.ports
    url = f"http://127.0.0.1:{ports.gateway_metrics}/metrics"
    command = [sys.executable, "-m", "sensorium.cli", "top", "--once", "--metrics", url]
    lines: list[str] = []
    for seconds in (1, 10, 100):  # on a slow machine no chat may end within a second
        done = subprocess.run(
            [*command, "--interval", str(seconds), "--target", observed.stack.target],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        if chats(lines) > 0:
            break
    assert "requests/s" in lines[0]
    for name in MEMBERS:
        assert sum(line.startswith(name) for line in lines) == 2, "once as a pool, once as a model"
    assert sum("127.0.0.1:" in line for line in lines[1:]) == len(MEMBERS)
    assert chats(lines) > 0


def chats(lines: list[str]) -> float:
    """Returns the rate of requests that is shown of the chat model, which must be ready."""
    (chat,) = (line.split() for line in lines if line.startswith("chat") and "█" not in line and "░" not in line)
    assert chat[1] == "ready"
    return float(chat[2])
