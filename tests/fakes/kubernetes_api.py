"""A fake Kubernetes API server with list and watch of EndpointSlices, and their failures."""

import asyncio
import json
import re
import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "models"
TOKEN = "token-of-the-gateway"
_PATH = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
_SELECTOR = re.compile(r"kubernetes\.io/service-name in \((.*)\)")


def endpoint(address: str, uid: str | None = None, **conditions: bool | None) -> dict[str, Any]:
    """Returns an endpoint of a slice. Its conditions may be absent, as the API allows."""
    return {
        "addresses": [address],
        "conditions": conditions,
        "targetRef": None if uid is None else {"kind": "Pod", "name": f"pod-{uid}", "uid": uid},
    }


def endpoint_slice(
    service: str,
    endpoints: Iterable[dict[str, Any]] | None,
    *,
    name: str = "",
    family: str = "IPv4",
    port: int = 50051,
    port_name: str = "grpc",
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name or f"{service}-1",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "endpoints": None if endpoints is None else list(endpoints),
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
    }


@dataclass(eq=False)
class _Watch:
    services: set[str]
    version: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    news: asyncio.Event = field(default_factory=asyncio.Event)
    bookmark: bool = False
    ended: bool = False


class KubernetesApi:
    """Serves on loopback inside `async with`, with TLS if `tls` is given."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.lists: list[dict[str, str]] = []
        """The query parameters of each list that was answered."""
        self.watches: list[dict[str, str]] = []
        """The query parameters of each watch."""
        self.forbidden: set[str] = set()
        """Verbs that get HTTP 403."""
        self.gone_as_status = False
        """Whether an expired version gets HTTP 410, or a 410 as its first event."""
        self._tls = tls
        self._slices: dict[str, dict[str, Any]] = {}
        self._version = 100
        self._oldest = 100
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._open: set[_Watch] = set()
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def __aenter__(self) -> "KubernetesApi":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens (again, on the same port)."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Aborts all connections and stops listening."""
        self._server.close()
        for watch in self._open:
            watch.news.set()
        for writer in self._connections:
            writer.transport.abort()
        await asyncio.gather(*self._connections.values())
        await self._server.wait_closed()

    @property
    def watching(self) -> int:
        return len(self._open)

    def put(self, piece: dict[str, Any]) -> None:
        """Creates or updates a slice."""
        name = piece["metadata"]["name"]
        self._record("MODIFIED" if name in self._slices else "ADDED", piece)
        self._slices[name] = self._events[-1][2]

    def delete(self, name: str) -> None:
        self._record("DELETED", self._slices.pop(name))

    def other_writes(self) -> None:
        """Increases the version without an event, as writes to other resources do."""
        self._version += 10

    def compact(self) -> None:
        """Drops all past events: watches from older versions get 410."""
        self._oldest = self._version

    def bookmark(self) -> None:
        """Sends a bookmark to every watch."""
        for watch in self._open:
            watch.bookmark = True
            watch.news.set()

    def end_watches(self) -> None:
        """Ends all watches regularly, before their timeout."""
        for watch in self._open:
            watch.ended = True
            watch.news.set()

    async def cut_watches(self, sent: bytes, length: int) -> None:
        """Aborts all watches within a chunk of `length` bytes, of which only `sent` is sent."""
        for watch in tuple(self._open):
            watch.writer.write(b"%x\r\n%s" % (length, sent))
            await watch.writer.drain()
            watch.writer.transport.abort()

    def kubeconfig(self, folder: Path) -> str:
        """Writes a kubeconfig for this server, without TLS; returns its path."""
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        path = folder / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "current-context": "fake",
                    "contexts": [
                        {"name": "fake", "context": {"cluster": "fake", "user": "gateway", "namespace": NAMESPACE}}
                    ],
                    "clusters": [{"name": "fake", "cluster": cluster}],
                    "users": [{"name": "gateway", "user": {"token": TOKEN}}],
                }
            )
        )
        return str(path)

    def _record(self, kind: str, piece: dict[str, Any]) -> None:
        self._version += 1
        stamped = {**piece, "metadata": {**piece["metadata"], "resourceVersion": str(self._version)}}
        self._events.append((self._version, kind, stamped))
        for watch in self._open:
            watch.news.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[writer] = task
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                if not await self._answer(head, reader, writer):
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            del self._connections[writer]
            writer.transport.abort()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers a request; returns whether another one may follow on the connection."""
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        verb = "watch" if query.get("watch", "").lower() == "true" else "list"
        selected = _SELECTOR.fullmatch(query.get("labelSelector", ""))
        if f"bearer {TOKEN}" not in head.replace("Bearer", "bearer"):
            await _reply(writer, 401, _status(401, "Unauthorized"))
        elif method != "GET" or url.path != _PATH or selected is None:
            await _reply(writer, 404, _status(404, "NotFound"))
        elif verb in self.forbidden:
            await _reply(writer, 403, _status(403, "Forbidden"))
        elif verb == "watch":
            self.watches.append(query)
            await self._watch(query, _Watch(set(selected[1].split(",")), int(query["resourceVersion"]), reader, writer))
            return False
        else:
            self.lists.append(query)
            await self._list(set(selected[1].split(",")), writer)
        return True

    async def _list(self, services: set[str], writer: asyncio.StreamWriter) -> None:
        items = [piece for piece in self._slices.values() if _service_of(piece) in services]
        listed = {"kind": "EndpointSliceList", "metadata": {"resourceVersion": str(self._version)}}
        await _reply(writer, 200, {**listed, "items": items or None})

    async def _watch(self, query: dict[str, str], watch: _Watch) -> None:
        writer = watch.writer
        gone = watch.version < self._oldest
        if gone and self.gone_as_status:
            await _reply(writer, 410, _status(410, "Expired"))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        if gone:
            await _send(writer, {"type": "ERROR", "object": _status(410, "Expired")})
        else:
            self._open.add(watch)
            try:
                async with asyncio.timeout(float(query["timeoutSeconds"])):
                    await self._follow(watch)
            except TimeoutError:
                pass
            finally:
                self._open.discard(watch)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _follow(self, watch: _Watch) -> None:
        while not (watch.ended or watch.reader.at_eof() or watch.writer.is_closing()):
            watch.news.clear()
            for version, kind, piece in self._events:
                if version > watch.version and _service_of(piece) in watch.services:
                    await _send(watch.writer, {"type": kind, "object": piece})
            watch.version = self._version
            if watch.bookmark:
                watch.bookmark = False
                version = {"kind": "EndpointSlice", "metadata": {"resourceVersion": str(self._version)}}
                await _send(watch.writer, {"type": "BOOKMARK", "object": version})
            # Wakes up periodically to notice that the client has closed the connection.
            with suppress(TimeoutError):
                await asyncio.wait_for(watch.news.wait(), 0.2)


def _service_of(piece: dict[str, Any]) -> str:
    return piece["metadata"]["labels"]["kubernetes.io/service-name"]


def _status(code: int, reason: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": f"it is {reason}"}


async def _reply(writer: asyncio.StreamWriter, code: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    writer.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (code, len(data)))
    writer.write(data)
    await writer.drain()


async def _send(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    data = json.dumps(event).encode() + b"\n"
    # In two chunks, as real events may arrive.
    for part in (data[: len(data) // 2], data[len(data) // 2 :]):
        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        await writer.drain()
