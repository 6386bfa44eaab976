"""Keeps a copy of the EndpointSlices of some Services, by list and watch."""

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
# A watch is asked for anew at least this often, as one may have died without a word.
_WATCH_SECONDS = 300.0


class Follower:
    """Runs in a thread of its own until `stop`. What it told last holds whenever the API server cannot be asked."""

    def __init__(self, cluster: Cluster, resync_seconds: float, tell: Callable[[Collection[Slice]], None]) -> None:
        """`tell` is called in the thread, with all slices, after each list and each change."""
        self._cluster = cluster
        self._resync_seconds = resync_seconds
        self._tell = tell
        self._slices: dict[str, Slice] = {}
        self._version = ""
        """What to watch from; empty where it must be listed first."""
        self._resync = 0.0
        self._wait = 0.0
        self._trouble = ""
        self._stopping = threading.Event()

    def run(self) -> None:
        """Follows until stopped."""
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
                # Where only the watch is refused, listing now and then is better than nothing.
                self._version = ""
                self._complain(logging.ERROR, str(error))
            except Broken as error:
                self._complain(logging.WARNING, f"the API server is lost: {error}")
            except Exception:
                self._version = ""
                _log.exception("following EndpointSlices failed")
            self._pause()

    def stop(self) -> None:
        """Ends the thread soon; for other threads."""
        self._stopping.set()
        self._cluster.stop()

    def _list(self) -> None:
        slices, self._version = self._cluster.list()
        self._slices = {piece["metadata"]["name"]: piece for piece in slices}
        # Gateways that started together are not to ask together.
        self._resync = monotonic() + self._resync_seconds * random.uniform(0.75, 1.25)  # noqa: S311
        self._tell(self._slices.values())

    def _watch(self) -> bool:
        """Returns, at the end of a watch, whether it lasted as long as was asked."""
        until = min(self._resync, monotonic() + _WATCH_SECONDS)
        with self._cluster.watch(self._version, max(until - monotonic(), 1)) as events:
            self._recover()
            try:
                for event in events:
                    self._wait = 0.0
                    self._take(event["type"], event["object"])
            except Broken as error:
                # It happens whenever an API server is replaced; only one that cannot be reached again is trouble.
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
        self._tell(self._slices.values())

    def _pause(self) -> None:
        self._wait = min(max(2 * self._wait, _FIRST_WAIT_SECONDS), _LAST_WAIT_SECONDS)
        self._stopping.wait(self._wait * random.uniform(0.5, 1))  # noqa: S311

    def _complain(self, level: int, trouble: str) -> None:
        """Logs trouble once, not at each attempt."""
        if trouble != self._trouble and not self._stopping.is_set():
            self._trouble = trouble
            _log.log(level, "EndpointSlices cannot be followed, what was told last stands: %s", trouble)

    def _recover(self) -> None:
        if self._trouble:
            self._trouble = ""
            _log.info("EndpointSlices are followed again")
