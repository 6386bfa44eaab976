"""Keeps trace spans in memory instead of exporting them to a collector."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sensorium.rpc import telemetry
from tests.waiting import PATIENCE

ENDPOINT = "http://127.0.0.1:9"
"""The address of a collector; nothing connects to it."""


class Collected:
    """The spans of all servers in this test; complete once the servers have drained."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def of(self, service: str) -> list[ReadableSpan]:
        """Returns the spans of one service, in order of start time."""
        return [span for span in self.spans if span.resource.attributes["service.name"] == f"sensorium-{service}"]

    def server(self, service: str) -> ReadableSpan:
        """Returns the service's only SERVER span: the one call it served."""
        (span,) = [span for span in self.of(service) if span.kind.name == "SERVER"]
        return span

    def below(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """Returns the direct children of a span, in order of start time."""
        return [span for span in self.spans if span.parent and span.parent.span_id == parent.context.span_id]

    def names_below(self, parent: ReadableSpan) -> list[str]:
        return [span.name for span in self.below(parent)]

    def attributes(self, span: ReadableSpan) -> dict[str, Any]:
        return dict(span.attributes or {})


class _Kept(InMemorySpanExporter):
    def shutdown(self) -> None:
        """Does nothing: all servers share this exporter, and the first to end would close it for the others."""


@contextmanager
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Collects the spans of every server of this test that exports to ENDPOINT."""
    exporter = _Kept()
    monkeypatch.setattr(telemetry, "exporter_of", lambda endpoint: exporter)
    monkeypatch.setattr(telemetry, "_FLUSH_SECONDS", PATIENCE)
    yield Collected(exporter)
