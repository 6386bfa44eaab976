"""Every expression of boards, rules and scalers, with the labels that are named beside it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from k8s.monitoring.boards import BOARDS
from k8s.monitoring.files import FOLDER, rule_files
from k8s.monitoring.rule import Alert, Recording

COMPONENTS = FOLDER.parent / "components"
_ADAPTER = re.compile("<<[^>]*>>")


@dataclass(frozen=True)
class Question:
    """One expression, and where it is asked."""

    where: str
    expr: str
    named: frozenset[str] = frozenset()
    """Labels of the result that a legend or a text names."""
    record: str | None = None
    """The series it is recorded as, with `labels` beside its own."""
    labels: frozenset[str] = frozenset()


def rules() -> list[Recording | Alert]:
    """Returns all rules, in the order in which they are evaluated."""
    return [rule for groups in rule_files().values() for group in groups for rule in group.rules]


def questions() -> Iterator[Question]:
    """Yields every expression, recordings before what uses them."""
    for rule in sorted(rules(), key=lambda rule: isinstance(rule, Alert)):
        own = frozenset(rule.labels)
        if isinstance(rule, Recording):
            yield Question(rule.record, rule.expr, record=rule.record, labels=own)
        else:
            named = set(re.findall(r"\$labels\.(\w+)", rule.summary + rule.description))
            yield Question(rule.alert, rule.expr, frozenset(named - own))
    for board in BOARDS:
        for variable in board.variables:
            yield Question(f"${variable.label}", f"sum by ({variable.label}) ({variable.metric})")
        for panel in board.panels:
            for query in panel.queries:
                yield Question(panel.title, query.expr, frozenset(re.findall(r"{{(\w+)}}", query.legend)))
    for path in sorted(COMPONENTS.glob("*/*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield from _scalers(path, document)


def _scalers(path: Path, part: Any) -> Iterator[Question]:
    """Yields the queries of KEDA's triggers and of prometheus-adapter's rules."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in {"query", "seriesQuery", "metricsQuery"}:
                yield Question(f"{path.parent.name}/{path.name}", _ADAPTER.sub("", value))
            else:
                yield from _scalers(path, value)
    elif isinstance(part, list):
        for value in part:
            yield from _scalers(path, value)
