"""Keeps a copy of the EndpointSlices of some Services up to date, by Kubernetes' list and watch."""

import logging
import random
import threading
from collections.abc import Callable, Collection
from time import monotonic

from gateway.discovery.cluster import Broken, Cluster, Gone, Refused
from gateway.discovery.slices import Slice

_log = logging.getLogger("gateway")

_FIRST_WAIT_SECONDS = 0.2
_LAST_WAIT_SECONDS = 30.0
# A watch is renewed at least this often, as its connection may be dead without an error.
_WATCH_SECONDS = 300.0


class Follower:
    """Runs in its own thread until `stop`. While the API server cannot be reached, the last report stays valid."""

    def __init__(self, cluster: Cluster, resync_seconds: float, report: Callable[[Collection[Slice]], None]) -> None:
        """`report` is called in that thread, with all slices, after each list and each change."""
        self._cluster = cluster
        self._resync_seconds = resync_seconds
        self._report = report
        self._slices: dict[str, Slice] = {}
        self._version = ""
        """The resource version to watch from; empty if a list is needed first."""
        self._resync = 0.0
        self._wait = 0.0
        self._failure = ""
        self._stopping = threading.Event()

    def run(self) -> None:
        """Lists and watches until stopped; waits with exponential backoff after failures."""
        while not self._stopping.is_set():
            try:
                if not self._version or monotonic() >= self._resync:
                    self._list()
                if self._watch():
                    continue
            except Gone:
                _log.debug("the version of the EndpointSlices is gone; listing anew")
                self._version = ""
            except Refused as error:
                # If only the watch is refused, periodic lists are better than nothing.
                self._version = ""
                self._log_failure(logging.ERROR, str(error))
            except Broken as error:
                self._log_failure(logging.WARNING, f"the API server is lost: {error}")
            except Exception:
                self._version = ""
                _log.exception("following EndpointSlices failed")
            self._pause()

    def stop(self) -> None:
        """Makes `run` return soon. Thread-safe."""
        self._stopping.set()
        self._cluster.stop()

    def _list(self) -> None:
        slices, self._version = self._cluster.list()
        self._slices = {piece["metadata"]["name"]: piece for piece in slices}
        # Jitter, so that gateways started together do not list together.
        self._resync = monotonic() + self._resync_seconds * random.uniform(0.75, 1.25)  # noqa: S311
        self._report(self._slices.values())

    def _watch(self) -> bool:
        """Watches once; returns whether the watch lasted as long as requested."""
        until = min(self._resync, monotonic() + _WATCH_SECONDS)
        with self._cluster.watch(self._version, max(until - monotonic(), 1)) as events:
            self._recover()
            try:
                for event in events:
                    self._wait = 0.0
                    self._take(event["type"], event["object"])
            except Broken as error:
                # This happens whenever an API server is replaced. It is reported only if the next connection fails too.
                _log.debug("the watch of EndpointSlices was cut: %s", error)
                return False
        return monotonic() >= until - 1

    def _take(self, kind: str, piece: Slice) -> None:
        self._version = piece["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        name = piece["metadata"]["name"]
        if kind == "DELETED":
            self._slices.pop(name, None)
        else:
            self._slices[name] = piece
        self._report(self._slices.values())

    def _pause(self) -> None:
        self._wait = min(max(2 * self._wait, _FIRST_WAIT_SECONDS), _LAST_WAIT_SECONDS)
        self._stopping.wait(self._wait * random.uniform(0.5, 1))  # noqa: S311

    def _log_failure(self, level: int, failure: str) -> None:
        """Logs a failure once, not at each attempt."""
        if failure != self._failure and not self._stopping.is_set():
            self._failure = failure
            _log.log(level, "EndpointSlices cannot be followed, the last known endpoints stay in use: %s", failure)

    def _recover(self) -> None:
        if self._failure:
            self._failure = ""
            _log.info("EndpointSlices are followed again")
