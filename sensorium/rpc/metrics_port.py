"""The HTTP port of a process, for Prometheus and for probes."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from socket import AF_INET6, create_connection
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client
from prometheus_client import CollectorRegistry

_CLOSE_SECONDS = 1.0


class MetricsPort:
    """Serves /metrics of one registry, /livez (it is not stuck) and /readyz (it serves), in a thread of its own.

    `alive` and `ready` are called in a thread of each request, and may wait there.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, alive: Callable[[], bool], ready: Callable[[], bool]
    ) -> None:
        """Binds the port.

        Raises:
            OSError: it cannot be bound.
        """
        kit: Any = prometheus_client
        paths = _paths(kit.make_wsgi_app(registry), {"/livez": alive, "/readyz": ready})
        self._server = make_server(host, port, paths, _ServerV6 if ":" in host else _Server, _Silent)
        self.port: int = self._server.server_port
        self._address = (host, self.port)
        self._closing = False
        self._thread = Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Frees the port."""
        self._closing = True
        with suppress(OSError), create_connection(self._address, _CLOSE_SECONDS):
            self._thread.join(_CLOSE_SECONDS)
        self._server.server_close()

    def _serve(self) -> None:
        # `serve_forever` would look up all the time, and each time take the interpreter from who works.
        while not self._closing:
            self._server.handle_request()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Without the inherited look-up of the host's full name, which can take seconds where there is no DNS.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


class _ServerV6(_Server):
    address_family = AF_INET6


class _Silent(WSGIRequestHandler):
    # A peer that opens a connection and sends nothing gives its thread back.
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


def _paths(metrics: Any, probes: Mapping[str, Callable[[], bool]]) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        if path in probes:
            status = HTTPStatus.OK if probes[path]() else HTTPStatus.SERVICE_UNAVAILABLE
        else:
            status = HTTPStatus.NOT_FOUND
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")])
        return [f"{status.phrase}\n".encode()]

    return app
