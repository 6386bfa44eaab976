"""A client of the Kubernetes API that lists and watches the EndpointSlices of some Services."""

import json
import math
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from os import environ
from pathlib import Path
from typing import Any

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException

from gateway.discovery.slices import SERVICE_LABEL, Slice
from sensorium import rpc

# The package has no type annotations.
_kit: Any = kubernetes

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_CONNECT_SECONDS = 5
_READ_SECONDS = 30

Broken = (urllib3.exceptions.HTTPError, OSError, ValueError)
"""Exceptions of a connection that fails, or that breaks in the middle of an answer."""


class Gone(Exception):
    """HTTP 410: the resource version is too old to watch from; list again."""


class Refused(Exception):
    """The API server answered with another error. The message says which one, and how to fix a missing permission."""


class Cluster:
    """Lists and watches EndpointSlices, with blocking calls. For one thread; only `stop` is thread-safe."""

    def __init__(self, namespace: str | None, services: Collection[str]) -> None:
        """Reads the pod's own credentials or, outside a cluster, the kubeconfig.

        Raises:
            CannotServe: neither exists, or they cannot be used.
        """
        settings = _kit.client.Configuration()
        try:
            home = _configure(settings)
        except (ConfigException, OSError) as error:
            told = (
                f"No Kubernetes cluster is configured: {error} Start it in a pod, or name a kubeconfig by KUBECONFIG."
            )
            raise rpc.CannotServe(told) from error
        self.namespace = namespace or home
        # The calling thread has its own retries. TCP keepalive detects a peer that went silent.
        settings.retries = False
        settings.keep_alive = True
        self._list = _kit.client.DiscoveryV1Api(_kit.client.ApiClient(settings)).list_namespaced_endpoint_slice
        self._selector = f"{SERVICE_LABEL} in ({','.join(sorted(services))})"
        self._response: Any = None
        self._stopped = False

    def list(self) -> tuple[list[Slice], str]:
        """Returns the slices and their resource version.

        Raises:
            Gone, Refused: the API server answered with an error.
            Broken: the connection failed.
        """
        with self._asked("list") as response:
            listed = json.loads(response.data)
        return listed.get("items") or [], listed["metadata"]["resourceVersion"]

    @contextmanager
    def watch(self, version: str, seconds: float) -> Generator[Iterator[dict[str, Any]]]:
        """Watches for about `seconds` from a resource version on. Yields an iterator of watch events.

        Raises:
            Gone, Refused, Broken: on entry, and while events are read.
        """
        seconds = math.ceil(seconds)
        query = {"watch": True, "allow_watch_bookmarks": True, "resource_version": version, "timeout_seconds": seconds}
        with self._asked("watch", read_seconds=seconds + _READ_SECONDS, **query) as response:
            self._response = response
            try:
                # `stop` sets the flag before it reads `_response`, so one of the two always ends the watch.
                yield iter(()) if self._stopped else map(_event, _lines(response))
            finally:
                self._response = None

    def stop(self) -> None:
        """Ends the running watch, and makes any later one end at once. Thread-safe."""
        self._stopped = True
        if (response := self._response) is not None:
            # The other thread may be closing it at this moment.
            with suppress(RuntimeError, ValueError, OSError):
                response.shutdown()

    @contextmanager
    def _asked(self, verb: str, *, read_seconds: int = _READ_SECONDS, **query: Any) -> Generator[Any]:
        # Raw JSON: the client's classes refuse `endpoints: null` (a Service without pods), and are ten times slower.
        timeouts = (_CONNECT_SECONDS, read_seconds)
        try:
            response = self._list(
                self.namespace,
                label_selector=self._selector,
                _preload_content=False,
                _request_timeout=timeouts,
                **query,
            )
        except ApiException as error:
            failure: Any = error
            raise self._error(verb, failure.status, failure.reason) from error
        try:
            yield response
        finally:
            response.close()

    def _error(self, verb: str, status: Any, reason: Any) -> Exception:
        if status == HTTPStatus.GONE:
            return Gone()
        if status == HTTPStatus.FORBIDDEN:
            return Refused(
                f"the API server does not let this ServiceAccount {verb} EndpointSlices in namespace {self.namespace}: "
                f"its Role must allow the verb `{verb}` on `endpointslices` of the group `discovery.k8s.io`"
            )
        return Refused(f"the API server answers {verb} with {status} {reason}")


def _configure(settings: Any) -> str:
    """Fills in the API server and credentials; returns the namespace of the pod or of the kubeconfig's context."""
    if "KUBERNETES_SERVICE_HOST" in environ:
        _kit.config.load_incluster_config(client_configuration=settings)
        return _POD_NAMESPACE.read_text().strip()
    path = environ.get("KUBECONFIG")
    _kit.config.load_kube_config(path, client_configuration=settings)
    _, active = _kit.config.list_kube_config_contexts(path)
    return active["context"].get("namespace") or "default"


def _lines(response: Any) -> Iterator[bytes]:
    """Yields whole lines. An unfinished last line is dropped."""
    rest = b""
    for piece in response.stream(amt=None, decode_content=True):
        *lines, rest = (rest + piece).split(b"\n")
        yield from filter(None, lines)


def _event(line: bytes) -> dict[str, Any]:
    event = json.loads(line)
    if event["type"] == "ERROR":
        status = event["object"]
        if status.get("code") == HTTPStatus.GONE:
            raise Gone
        raise Refused(f"the API server ends the watch with {status.get('code')} {status.get('message')}")
    return event
