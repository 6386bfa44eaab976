"""Prometheus configuration for the stack, with the labels that PodMonitors add in a cluster."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from k8s.monitoring.files import rule_files
from local.fleet import Member
from local.stack import Ports

NAMESPACE = "local"


def configuration(ports: Ports, members: Sequence[Member], seconds: float = 1.0) -> dict[str, Any]:
    """Returns a Prometheus configuration that scrapes and evaluates rules every `seconds`."""
    servers = [
        _target(port, pool=member.name, modality=member.module.removeprefix("services."))
        for member, (_, port) in zip(members, ports.services, strict=True)
    ]
    return {
        "global": {"scrape_interval": f"{seconds:g}s", "evaluation_interval": f"{seconds:g}s"},
        "scrape_configs": [
            _job("sensorium-gateway", [_target(ports.gateway_metrics, pod="gateway")]),
            _job("sensorium-model-server", servers),
        ],
    }


def rules() -> dict[str, Any]:
    """Returns all rules, evaluated at the global interval, since intervals of minutes are too long here."""
    groups = [group for groups in rule_files().values() for group in groups]
    return {"groups": [replace(group, interval=None).document() for group in groups]}


def _job(name: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
    # `honor_labels`: a metric's own labels `pool` and `endpoint` win over the target's.
    return {"job_name": name, "honor_labels": True, "static_configs": targets}


def _target(port: int, **labels: str) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": NAMESPACE, **labels}}
