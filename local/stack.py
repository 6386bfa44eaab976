"""Gateway and services on the embedded models, from start to ready to stopped."""

import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import sensorium
from local.process import ChildProcess
from sensorium.v1.models_pb2 import MODEL_STATE_READY, ListModelsRequest

CHECKOUT = Path(__file__).parent.parent
START_SECONDS = 120.0
_POLL_SECONDS = 0.1


class StackFailed(Exception):
    """A process ended, or did not get ready in time. The message holds the end of its log."""


@dataclass(frozen=True)
class Ports:
    """Where the processes listen on 127.0.0.1."""

    gateway: int = 50050
    gateway_metrics: int = 9050
    text: int = 50051
    text_metrics: int = 9051

    @classmethod
    def free(cls) -> "Ports":
        """Returns ports nobody listens on now."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
        ports = [opened.getsockname()[1] for opened in sockets]
        for opened in sockets:
            opened.close()
        return cls(*ports)


class Stack:
    """The processes. As a context manager it stops them on exit, the gateway first."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._logs = tempfile.TemporaryDirectory(prefix="sensorium-")
        self._children: list[ChildProcess] = []

    @property
    def target(self) -> str:
        """The gateway's address."""
        return f"127.0.0.1:{self.ports.gateway}"

    @property
    def processes(self) -> dict[str, int]:
        """Process ids by name."""
        return {child.name: child.pid for child in self._children}

    def __enter__(self) -> Self:
        ports = self.ports
        text = ["--model", str(CHECKOUT / "models/chat"), "--port", str(ports.text)]
        gateway = ["--static", f"127.0.0.1:{ports.text}", "--port", str(ports.gateway)]
        self._start("text service", "services.text", [*text, "--metrics-port", str(ports.text_metrics)])
        self._start("gateway", "gateway", [*gateway, "--metrics-port", str(ports.gateway_metrics)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._logs.cleanup()

    def stop(self) -> None:
        """Lets every process drain and end. May be repeated."""
        while self._children:
            self._children.pop().stop()

    def wait_ready(self) -> Iterator[str]:
        """Yields a word on what is still awaited, a few times a second, and returns when everything is ready.

        Raises:
            StackFailed: a process ended, or too much time passed.
        """
        give_up = time.monotonic() + START_SECONDS
        with sensorium.Client(self.target, retry=None) as client:
            while awaited := self._awaited(client):
                self.check()
                if time.monotonic() > give_up:
                    raise StackFailed(f"Not ready after {START_SECONDS:.0f} s: {awaited}.")
                yield awaited
                time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raises StackFailed if a process has ended."""
        for child in self._children:
            if child.exit_code is not None:
                raise StackFailed(f"The {child.name} ended with code {child.exit_code}:\n{child.last_lines()}")

    def _start(self, name: str, module: str, arguments: list[str]) -> None:
        log = Path(self._logs.name) / f"{module}.log"
        drain = ["--drain-delay-seconds", "0"]  # nobody routes to these
        self._children.append(ChildProcess(name, module, [*arguments, *drain], log))

    def _awaited(self, client: sensorium.Client) -> str:
        """Returns what is not ready yet, or nothing."""
        try:
            models = client.models.list_models(ListModelsRequest(), timeout=2.0).models
        except sensorium.SensoriumError:
            return "the gateway is starting"
        if not models:
            return "the gateway looks for the text service"
        waiting = [model.identity.name for model in models if model.state != MODEL_STATE_READY]
        return f"loading {', '.join(waiting)}" if waiting else ""
