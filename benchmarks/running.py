"""Starts the programs of a benchmark together, and waits until they serve."""

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
    """A service or gateway of this repository that is ready."""

    process: Process
    port: int
    metrics_port: int

    @property
    def address(self) -> str:
        """Its gRPC address."""
        return f"127.0.0.1:{self.port}"


@dataclass
class Running:
    """The programs of a benchmark. As a context manager it stops all of them, the last one first."""

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
        """Handles SIGTERM, for example from `timeout`: kills all programs, then ends this process by the signal.

        It raises nothing: an exception inside `Popen.wait` would leave its lock taken, and `stop` would hang on it.
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
        """Starts one more program; see Process. Its log file is called `name`."""
        process = Process(command, self.cache / f"logs/{name}.log", environment, answers=answers, core=core)
        self.processes.append(process)
        return process

    def run(
        self, module: str, *arguments: str, name: str = "", answers: bool = False, core: int | None = SERVER_CORE
    ) -> Process:
        """Starts a module of this repository; see `start`."""
        return self.start(name or module, [*self.by(module), module, *arguments], answers=answers, core=core)

    def by(self, module: str) -> list[str]:
        """Returns the beginning of the command that runs a module. Subclasses may override it."""
        del module
        return [sys.executable, "-m"]

    def serve(self, module: str, *arguments: str, name: str = "", core: int | None = SERVER_CORE) -> Server:
        """Starts a service or gateway on free ports, and returns it once it is ready."""
        port, metrics_port = free_ports(2)
        ports = ("--port", str(port), "--metrics-port", str(metrics_port), "--drain-delay-seconds", "0")
        process = self.run(module, *arguments, *ports, name=name, core=core)
        process.wait(lambda: serves(port))
        return Server(process, port, metrics_port)


def serves(port: int) -> bool:
    """Returns whether the service or gateway at a port has models, all of them ready."""
    try:
        with sensorium.Client(f"127.0.0.1:{port}", retry=None) as client:
            models = client.models.list_models(ListModelsRequest(), timeout=2.0).models
    except sensorium.SensoriumError:
        return False
    return bool(models) and all(model.state == MODEL_STATE_READY for model in models)


def answers(url: str) -> bool:
    """Returns whether a GET of the URL returns HTTP 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as response:  # noqa: S310 - our own loopback server
            return response.status == 200
    except OSError:
        return False
