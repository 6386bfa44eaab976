"""The generated files: rule files for Prometheus, a PrometheusRule for its operator, and boards for Grafana."""

from pathlib import Path
from typing import Any

import yaml

from k8s.monitoring import burn, pools, symptoms
from k8s.monitoring.boards import BOARDS
from k8s.monitoring.rule import Group

FOLDER = Path(__file__).parent
HEAD = "# Written by `make monitoring` from k8s/monitoring/*.py.\n"


def rule_files() -> dict[str, list[Group]]:
    """Returns the rule groups by name of their file."""
    return {
        "slo": burn.groups(),
        "pools": [pools.group()],
        "symptoms": list(symptoms.GROUPS),
    }


def contents() -> dict[Path, str]:
    """Returns the text of every generated file, by path."""
    files = rule_files()
    written = {FOLDER / f"rules/{name}.yaml": _yaml(_rules(groups)) for name, groups in files.items()}
    every = [group for groups in files.values() for group in groups]
    written[FOLDER / "prometheusrule.yaml"] = _yaml(_for_operator(every))
    return written | {FOLDER / f"dashboards/{board.name}.json": board.text() for board in BOARDS}


def _rules(groups: list[Group]) -> dict[str, Any]:
    return {"groups": [group.document() for group in groups]}


def _for_operator(groups: list[Group]) -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sensorium", "labels": {"app.kubernetes.io/part-of": "sensorium"}},
        "spec": _rules(groups),
    }


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings in block style."""


def _text(_: yaml.SafeDumper, text: str) -> yaml.Node:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(document: dict[str, Any]) -> str:
    return HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
