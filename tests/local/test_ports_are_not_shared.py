import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from local import observe
from local.__main__ import _run
from local.stack import Ports, Stack, StackFailed, free_ports


def test_a_stack_does_not_start_if_another_one_answers() -> None:
    """Otherwise the other stack's processes would make this one look ready."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(StackFailed, match=f"Port {taken}: .*running already"):
            Stack(Ports(0, 0, ((taken, 0),)), [])
    Ports(0, 0, ((taken, 0),)).must_be_free()


def test_a_port_of_a_clients_connection_is_not_taken_for_a_stack() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as caller:
        taken = caller.getsockname()[1]
        with pytest.raises(StackFailed, match=f"Port {taken}: .*A connection has it"):
            Ports(taken, 0, ()).must_be_free()


@pytest.mark.parametrize("name", ["PROMETHEUS_PORT", "BOARDS_PORT"])
def test_ports_beside_the_stack_are_looked_at_before_it_starts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("PROMETHEUS_PORT", "BOARDS_PORT"):
        monkeypatch.setattr(observe, each, 0)
    monkeypatch.setattr(observe, "stop_on_signals", threading.Event)
    monkeypatch.setattr(observe, "Stack", None)
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(observe, name, other.getsockname()[1])
        with pytest.raises(StackFailed, match="shows who has it"):
            observe.run(Console(quiet=True), only=["chat"])


def test_a_failure_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """What a log says is no markup: a closing bracket too many would be an exception of its own."""
    said = "The chat ended with code 1:\n[beef] in [/usr/lib] " + "x" * 200

    def fail(_: Console) -> None:
        raise StackFailed(said)

    with pytest.raises(SystemExit):
        _run(fail)
    assert capsys.readouterr().out == f"The stack failed. {said}\n"


@pytest.mark.parametrize(("callers", "few"), [("12000\t64999\n", range(10_000, 12_000)), ("1024\t65535\n", range(0))])
def test_free_ports_are_not_ephemeral_ports(
    callers: str, few: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = tmp_path / "ip_local_port_range"
    limits.write_text(callers)
    monkeypatch.setattr("local.stack._CALLERS_PORTS", limits)
    monkeypatch.setattr("local.stack._FEWEST", 2000)
    ports = free_ports(3)
    assert len(set(ports)) == 3
    assert not few or all(port in few or port >= 65_000 for port in ports)


def test_nobody_else_is_given_a_free_port_before_its_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two stacks that start at once, one would find a port of its own in use."""
    (port,) = free_ports(1)
    monkeypatch.setattr("local.stack._ports_of_servers", lambda: [port])
    monkeypatch.setattr("local.stack._FEWEST", 1)
    command = [sys.executable, "-c", f"import socket; socket.create_server(('127.0.0.1', {port})).close()"]
    assert free_ports(1) == []
    subprocess.run(command, check=True)
    assert free_ports(1) == []
