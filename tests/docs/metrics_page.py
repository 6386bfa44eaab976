"""Writes docs/metrics.md from the registries: `python -m tests.docs.metrics_page > docs/metrics.md`."""

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.app import Gateway
from gateway.config import GatewaySettings
from sensorium.rpc.log_writer import LINES_DROPPED
from services.engine.metrics import EngineMetrics

HEAD = """# Metrics

All metrics of the gateway and the services, generated from the code by `make docs`. Each process serves its own at
`/metrics` on its metrics port. Label values are bounded: `model` is the name of a served model or `other`, and `code`
is the name of a gRPC status code.
"""


def gateway_registry() -> CollectorRegistry:
    """Returns the registry of a gateway that was never started."""

    async def make() -> CollectorRegistry:
        return Gateway(GatewaySettings(static=("127.0.0.1:1",), port=0, metrics_port=0)).registry

    return asyncio.run(make())


def engine_registry() -> CollectorRegistry:
    """Returns the registry of a service's engine."""
    registry = CollectorRegistry()
    EngineMetrics(registry)
    registry.register(LINES_DROPPED)
    return registry


def rows(registry: CollectorRegistry) -> Iterator[str]:
    """Yields a table row for each metric, sorted by name."""
    lines: dict[str, str] = {}
    for collector in registry._collector_to_names:
        for family in collector.describe() if hasattr(collector, "describe") else collector.collect():
            labels = ", ".join(f"`{label}`" for label in labels_of(collector, family))
            name = family.name + ("_total" if family.type == "counter" else "")
            lines[name] = f"| `{name}` | {family.type} | {labels} | {family.documentation} |"
    yield from (lines[name] for name in sorted(lines))


def labels_of(collector: Collector, family: Metric) -> list[str]:
    """Returns the label names of a metric, from its collector, or from the family that a custom collector makes."""
    return list(getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ()))


def page() -> str:
    """Returns the whole page as Markdown."""
    parts = [HEAD]
    for title, registry in (("Gateway", gateway_registry()), ("Services", engine_registry())):
        parts.append(f"\n## {title}\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n")
        parts.append("\n".join(rows(registry)) + "\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
