"""How Prometheus scrapes the stack: with the labels that the PodMonitors give in a cluster."""

from collections.abc import Sequence
from typing import Any

from k8s.monitoring.files import FOLDER
from local.fleet import Member
from local.stack import Ports

NAMESPACE = "local"


def configuration(ports: Ports, members: Sequence[Member], seconds: float = 1.0) -> dict[str, Any]:
    """Returns the configuration of a Prometheus that scrapes every `seconds` and evaluates all rules as often."""
    servers = [
        _target(port, pool=member.name, modality=member.module.removeprefix("services."))
        for member, (_, port) in zip(members, ports.services, strict=True)
    ]
    return {
        "global": {"scrape_interval": f"{seconds:g}s", "evaluation_interval": f"{seconds:g}s"},
        "rule_files": [str(path) for path in sorted(FOLDER.glob("rules/*.yaml"))],
        "scrape_configs": [
            _job("sensorium-gateway", [_target(ports.gateway_metrics, pod="gateway")]),
            _job("sensorium-model-server", servers),
        ],
    }


def _job(name: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
    # A metric's own pool and endpoint count, not the target's.
    return {"job_name": name, "honor_labels": True, "static_configs": targets}


def _target(port: int, **labels: str) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": NAMESPACE, **labels}}
