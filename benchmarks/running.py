"""Programs under measurement that belong together, and when they serve."""

import signal
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import sensorium
from benchmarks.process import SERVER_CORE, Process
from local.stack import free_ports
from sensorium.v1.models_pb2 import MODEL_STATE_READY, ListModelsRequest


@dataclass(frozen=True)
class Server:
    """A service or gateway of this repository that serves."""

    process: Process
    port: int
    metrics_port: int

    @property
    def address(self) -> str:
        """Where it takes calls."""
        return f"127.0.0.1:{self.port}"


@dataclass
class Running:
    """Programs on their way and in use. As a context manager it stops all of them, by id, the last one first."""

    cache: Path
    """Folder for models, peers' environments, logs."""
    processes: list[Process] = field(default_factory=list[Process])

    def __enter__(self) -> Self:
        self._told_before = signal.signal(signal.SIGTERM, self._end)
        return self

    def __exit__(self, *_: object) -> None:
        while self.processes:
            self.processes.pop().stop()
        signal.signal(signal.SIGTERM, self._told_before)

    def _end(self, number: int, _: object) -> None:
        """Ends this process, told to by `timeout` for one, and leaves no servers behind.

        It raises nothing: in the midst of a wait for a server that would leave a lock taken, and `stop` hanging on it.
        """
        for process in self.processes:
            process.kill()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def start(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        *,
        answers: bool = False,
        core: int | None = SERVER_CORE,
    ) -> Process:
        """Starts one more program; see Process. Its log is named for it."""
        process = Process(command, self.cache / f"logs/{name}.log", environment, answers=answers, core=core)
        self.processes.append(process)
        return process

    def run(
        self, module: str, *arguments: str, name: str = "", answers: bool = False, core: int | None = SERVER_CORE
    ) -> Process:
        """Starts a module of this repository; see `start`."""
        return self.start(name or module, [*self.by(module), module, *arguments], answers=answers, core=core)

    def by(self, module: str) -> list[str]:
        """Returns the beginning of the command that runs a module."""
        del module
        return [sys.executable, "-m"]

    def serve(self, module: str, *arguments: str, name: str = "", core: int | None = SERVER_CORE) -> Server:
        """Starts a service or gateway, and returns it once it serves."""
        port, metrics_port = free_ports(2)
        ports = ("--port", str(port), "--metrics-port", str(metrics_port), "--drain-delay-seconds", "0")
        process = self.run(module, *arguments, *ports, name=name, core=core)
        process.wait(lambda: serves(port))
        return Server(process, port, metrics_port)


def serves(port: int) -> bool:
    """Returns whether a service or gateway of this repository has models that are all ready."""
    try:
        with sensorium.Client(f"127.0.0.1:{port}", retry=None) as client:
            models = client.models.list_models(ListModelsRequest(), timeout=2.0).models
    except sensorium.SensoriumError:
        return False
    return bool(models) and all(model.state == MODEL_STATE_READY for model in models)


def answers(url: str) -> bool:
    """Returns whether a URL is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as response:  # noqa: S310 - our own loopback server
            return response.status == 200
    except OSError:
        return False
