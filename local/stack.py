"""Starts a gateway and a service for each embedded model, waits until they are ready, and stops them."""

import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Protocol, Self

import sensorium
from local.fleet import Member
from local.nursery import Fork, ForkServerEnded
from local.process import ChildProcess
from sensorium.v1.models_pb2 import MODEL_STATE_READY, ListModelsRequest

STALLED_SECONDS = 300.0
"""A start fails if no further model becomes ready for this long. The whole start may take longer."""
_POLL_SECONDS = 0.1
_CALLERS_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FEWEST = 4096
"""Number of ports that are sampled for free ones."""
_NAMED = 3
_HELD: list[socket.socket] = []
"""Bound to ports that were given away, and not listening."""


class StackFailed(Exception):
    """A port is in use, or a process ended or did not become ready. The message holds the end of its log."""


@dataclass(frozen=True)
class Ports:
    """Ports of the processes on 127.0.0.1."""

    gateway: int
    gateway_metrics: int
    services: tuple[tuple[int, int], ...]
    """For each member of the fleet: (gRPC port, metrics port)."""

    @classmethod
    def usual(cls, count: int) -> "Ports":
        """Returns the gateway's default ports, and the ports after them for `count` services."""
        return cls(50050, 9050, tuple((50051 + i, 9051 + i) for i in range(count)))

    @classmethod
    def free(cls, count: int) -> "Ports":
        """Returns unused ports."""
        gateway, metrics, *others = free_ports(2 + 2 * count)
        return cls(gateway, metrics, tuple(zip(others[::2], others[1::2], strict=True)))

    def must_be_free(self) -> None:
        """Raises StackFailed if a process listens on one of them or a connection uses it."""
        must_be_free((self.gateway, self.gateway_metrics, *chain.from_iterable(self.services)))


def must_be_free(ports: Iterable[int]) -> None:
    """Raises StackFailed if a process listens on one of the ports of 127.0.0.1 or a connection uses it."""
    for port in ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            who = f"`ss -tanp | grep :{port}` shows who has it."
            # A client's connection may use such a port too, and the kernel keeps it for a minute afterwards.
            cause = f"Is the stack running already? {who}" if _answers(port) else f"A connection has it. {who}"
            raise StackFailed(f"Port {port}: {os.strerror(error.errno or 0)}. {cause}") from None


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Returns `count` ports of 127.0.0.1 that nothing listens on now, and that no other process is given meanwhile.

    They stay this process's until it ends. Its servers may listen on them, as servers reuse addresses.
    """
    held: list[socket.socket] = []
    for port in random.sample(_ports_of_servers(), _FEWEST):
        one = socket.socket()
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            one.close()
            continue
        # Only now: bound without it, it is refused the ports that another process holds.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.append(one)
        if len(held) == count:
            break
    _HELD.extend(held)
    return [each.getsockname()[1] for each in held]


def _ports_of_servers() -> list[int]:
    """Returns the ports outside the ephemeral range, as the kernel may give one of that to a client at any time."""
    ports = range(10_000, 65_536)
    low, high = map(int, _CALLERS_PORTS.read_text().split())
    rest = [port for port in ports if not low <= port <= high]
    return rest if len(rest) >= _FEWEST else list(ports)


class Child(Protocol):
    """A process of the stack."""

    name: str

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        ...

    def last_lines(self) -> str:
        """Returns the end of its log."""
        ...

    def stop(self) -> int:
        """Lets it drain, waits for its end, and returns its exit code."""
        ...


class Stack:
    """The processes: started on entry to `with`, stopped on exit, the gateway first."""

    def __init__(self, ports: Ports, members: Sequence[Member], stop: Event | None = None) -> None:
        """`stop` is set where somebody interrupts the start, which then ends quietly.

        Raises StackFailed if one of `ports` is in use: another process would be mistaken for one of the stack.
        """
        ports.must_be_free()
        self.ports = ports
        self.members = members
        self._stop = stop or Event()
        self._logs = tempfile.TemporaryDirectory(prefix="sensorium-")
        self._children: list[Child] = []

    @property
    def target(self) -> str:
        """The gateway's address."""
        return f"127.0.0.1:{self.ports.gateway}"

    @property
    def processes(self) -> dict[str, int]:
        """Process ids by name."""
        return {child.name: child.pid for child in self._children}

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.__exit__, None, None, None)
            try:
                self._start_all()
            except ForkServerEnded as error:
                if not self._stop.is_set():  # Ctrl-C ends that process too
                    raise StackFailed(str(error)) from error
            undo.pop_all()
        return self

    def _start_all(self) -> None:
        addresses: list[str] = []
        for member, (port, metrics_port) in zip(self.members, self.ports.services, strict=True):
            model = ["--model", str(member.folder), "--device", "cpu", *element_type()]
            self._start(Fork, member.name, member.module, [*model, *_ports(port, metrics_port)])
            addresses.append(f"{member.name}=127.0.0.1:{port}")
        ports = _ports(self.ports.gateway, self.ports.gateway_metrics)
        # Reflection is for tools such as grpcurl. It is on here only because the stack serves this machine alone.
        self._start(ChildProcess, "gateway", "gateway", ["--static", ",".join(addresses), "--reflection", *ports])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._logs.cleanup()

    def stop(self) -> None:
        """Lets every process drain and end. May be called again."""
        if self._children:
            self._children.pop().stop()  # the gateway, which started last
        with ThreadPoolExecutor() as together:
            for child in self._children:
                together.submit(child.stop)
        self._children.clear()

    def wait_ready(self) -> Iterator[str]:
        """Yields a line of progress every 0.1 s, until everything is ready.

        Raises:
            StackFailed: a process ended, or no further model became ready for STALLED_SECONDS.
        """
        before, since = "", time.monotonic()
        with sensorium.Client(self.target, retry=None) as client:
            while current := self._progress(client):
                self.check()
                if current != before:
                    before, since = current, time.monotonic()
                elif time.monotonic() - since > STALLED_SECONDS:
                    raise StackFailed(f"For {STALLED_SECONDS:.0f} s nothing has changed: {current}.")
                yield current
                time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raises StackFailed if a process has ended."""
        for child in self._children:
            if child.exit_code is not None:
                raise StackFailed(f"The {child.name} ended with code {child.exit_code}:\n{child.last_lines()}")

    def _start(
        self, kind: Callable[[str, str, Sequence[str], Path], Child], name: str, module: str, arguments: list[str]
    ) -> None:
        log = Path(self._logs.name) / f"{name}.log"
        drain = ["--drain-delay-seconds", "0"]  # no load balancer has to notice the drain first
        self._children.append(kind(name, module, [*arguments, *drain], log))

    def _progress(self, client: sensorium.Client) -> str:
        """Returns a line of progress; empty if everything is ready."""
        try:
            models = client.models.list_models(ListModelsRequest(), timeout=2.0).models
        except sensorium.SensoriumError:
            return "the gateway is starting"
        ready = {model.identity.name for model in models if model.state == MODEL_STATE_READY}
        waiting = [member.name for member in self.members if member.name not in ready]
        return progress(waiting, len(self.members)) if waiting else ""


def element_type(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Returns `--dtype float32` for x86 processors without AVX-512, else nothing.

    There, torch emulates the models' bfloat16; a convolution takes about fifty times as long as in float32.
    """
    try:
        flags = next(
            (line.split() for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), list[str]()
        )
    except OSError:
        flags = list[str]()
    return ["--dtype", "float32"] if flags and "avx512bw" not in flags else []


def progress(waiting: Sequence[str], of: int) -> str:
    """Returns one short line: how many of `of` models are ready, and which are still loading."""
    more = f" and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
    named = ", ".join(waiting[:_NAMED]) + more
    return f"{of - len(waiting)} of {of} models ready, loading {named}"


def _ports(port: int, metrics_port: int) -> list[str]:
    return ["--port", str(port), "--metrics-port", str(metrics_port)]
