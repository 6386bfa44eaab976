"""Reads PromQL: which series and labels an expression names, and which labels its result has."""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import promql_parser as promql

from k8s.monitoring.promql import filled

Metrics = Mapping[str, frozenset[str]]
"""Labels by the name a series is asked for under: histograms have three such names."""
Values = Mapping[tuple[str, str], frozenset[str]]
"""All values a label may have, by metric and label; those of every metric under the name ''."""

_EVERYTHING = frozenset({"vector", "scalar", "time"})


@functools.cache
def parse(expression: str) -> promql.Expr:
    """Parses an expression of a rule, or of a board: variables of Grafana stand for anything."""
    return promql.parse(filled(expression, "5m"))


@dataclass
class Reading:
    """What was read, and what is wrong with it."""

    metrics: Metrics
    values: Values
    used: set[str] = field(default_factory=set)
    """Names of series that were asked for."""
    used_labels: set[tuple[str, str]] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def labels_of(self, node: Any) -> frozenset[str]:
        """Returns the labels that the result of `node` may have."""
        read: Callable[[Any], frozenset[str]] = getattr(self, f"_{type(node).__name__}")
        return read(node)

    def _NumberLiteral(self, node: Any) -> frozenset[str]:
        return frozenset()

    _StringLiteral = _NumberLiteral

    def _ParenExpr(self, node: Any) -> frozenset[str]:
        return self.labels_of(node.expr)

    _UnaryExpr = _SubqueryExpr = _ParenExpr

    def _MatrixSelector(self, node: Any) -> frozenset[str]:
        return self.labels_of(node.vector_selector)

    def _VectorSelector(self, node: Any) -> frozenset[str]:
        self.used.add(node.name)
        labels = self.metrics.get(node.name)
        if labels is None:
            self.complaints.append(f"no metric {node.name}")
            return frozenset()
        self._check(node.name, (matcher.name for matcher in node.matchers.matchers), labels)
        for matcher in node.matchers.matchers:
            self._check_value(node.name, matcher)
        return labels

    def _AggregateExpr(self, node: Any) -> frozenset[str]:
        inner = self.labels_of(node.expr)
        if node.modifier is None:
            return frozenset()
        named = frozenset(node.modifier.labels)
        self._check(f"{node.op} over {self._names(node)}", named, inner)
        return named if node.modifier.type == promql.AggModifierType.By else inner - named

    def _Call(self, node: Any) -> frozenset[str]:
        read = [self.labels_of(argument) for argument in node.args]
        inner = frozenset().union(*read)
        if node.func.name == "histogram_quantile":
            self._check(f"quantile over {self._names(node)}", ["le"], inner)
            return inner - {"le"}
        if node.func.name == "label_replace":
            return inner | {node.args[1].val}
        return frozenset() if node.func.name in _EVERYTHING else inner

    def _BinaryExpr(self, node: Any) -> frozenset[str]:
        left, right = self.labels_of(node.lhs), self.labels_of(node.rhs)
        modifier = node.modifier
        if modifier is not None and modifier.matching is not None:
            for labels in (left, right):
                self._check(f"on over {self._names(node)}", modifier.matching.labels, labels or frozenset())
        return left | right if str(node.op) == "or" else left or right

    def _check(self, where: str, named: Iterable[str], there: frozenset[str]) -> None:
        for label in named:
            self.used_labels.add((where, label))
            if label not in there:
                self.complaints.append(f"{where} has no label {label}")

    def _check_value(self, metric: str, matcher: Any) -> None:
        allowed = self.values.get((metric, matcher.name), self.values.get(("", matcher.name)))
        if allowed is None or not matcher.value:
            return
        regular = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
        for value in matcher.value.split("|") if regular else [matcher.value]:
            if not any(re.fullmatch(value, one) if regular else value == one for one in allowed):
                self.complaints.append(f"{metric} has no {matcher.name} {value}")

    def _names(self, node: Any) -> str:
        found: list[str] = []
        promql.walk(node, lambda part: found.append(part.name) if isinstance(part, promql.VectorSelector) else None)
        return ", ".join(dict.fromkeys(found))
