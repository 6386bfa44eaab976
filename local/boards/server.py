"""Serves the boards as web pages that refresh themselves."""

import time
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

from k8s.monitoring.board import Board
from k8s.monitoring.boards import BOARDS
from local.boards.answer import Span, answers
from local.boards.sheet import sheet
from local.prometheus import Prometheus

SHOWN_SECONDS = 300.0
_STEP = 3.0
_INTERVAL = 15.0
_REFRESH_SECONDS = 5

_PAGE = """<!doctype html><html><head><meta charset="utf-8"><meta http-equiv="refresh" content="{refresh}">
<title>{title}</title></head><body style="margin:0;background:#f4f5f7;font-family:sans-serif">
<p style="margin:0;padding:8px 12px">{links}</p>
<img src="/{name}.svg" alt="{title}" style="max-width:100%"></body></html>
"""


class BoardServer:
    """An HTTP server on 127.0.0.1 with a page for each board, drawn at each request with the last five minutes."""

    def __init__(self, prometheus: Prometheus, port: int) -> None:
        """Binds the port; 0 chooses a free one.

        Raises:
            OSError: the port cannot be bound.
        """
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(lambda board: _draw(prometheus, board)))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="boards", daemon=True)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _draw(prometheus: Prometheus, board: Board) -> str:
    # Aligned to steps, so that points do not move between two pictures.
    end = time.time() // _STEP * _STEP
    span = Span(end - SHOWN_SECONDS, end, _STEP, _INTERVAL)
    return sheet(board, lambda panel: answers(prometheus, panel, span), span)


def _page(board: Board) -> str:
    links = " · ".join(f'<a href="/{each.name}">{escape(each.title)}</a>' for each in BOARDS)
    return _PAGE.format(refresh=_REFRESH_SECONDS, title=escape(board.title), name=board.name, links=links)


def _handler(draw: Callable[[Board], str]) -> type[BaseHTTPRequestHandler]:
    boards = {"/": BOARDS[0]} | {f"/{board.name}": board for board in BOARDS}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in boards:
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", _page(boards[path]))
            elif path.endswith(".svg") and path.removesuffix(".svg") in boards:
                self._send(HTTPStatus.OK, "image/svg+xml", draw(boards[path.removesuffix(".svg")]))
            else:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", "There is no such board.\n")

        def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    return Handler
