"""Spans that would go to a collector, kept in memory instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sensorium.rpc import telemetry

ENDPOINT = "http://127.0.0.1:9"
"""Of a collector that is never asked."""


class Collected:
    """The spans of all processes, once these have drained."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def of(self, service: str) -> list[ReadableSpan]:
        """Returns the spans of one process, by their beginnings."""
        return [span for span in self.spans if span.resource.attributes["service.name"] == f"sensorium-{service}"]

    def server(self, service: str) -> ReadableSpan:
        """Returns the one call that a process served."""
        (span,) = [span for span in self.of(service) if span.kind.name == "SERVER"]
        return span

    def below(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """Returns the children of a span, by their beginnings."""
        return [span for span in self.spans if span.parent and span.parent.span_id == parent.context.span_id]

    def names_below(self, parent: ReadableSpan) -> list[str]:
        return [span.name for span in self.below(parent)]

    def attributes(self, span: ReadableSpan) -> dict[str, Any]:
        return dict(span.attributes or {})


class _Kept(InMemorySpanExporter):
    def shutdown(self) -> None:
        """Several processes have this one exporter: each that ends would close it for the others."""


@contextmanager
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Lets all processes of this test that are told ENDPOINT send to one place."""
    exporter = _Kept()
    monkeypatch.setattr(telemetry, "exporter_of", lambda endpoint: exporter)
    yield Collected(exporter)
