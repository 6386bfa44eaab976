import socket

import pytest

from local.stack import Ports, Stack, StackFailed


def test_a_stack_does_not_start_where_another_one_answers() -> None:
    """Its processes would be taken for those of this one, and this one said to be ready."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(StackFailed, match=f"Port {taken}: .*running already"):
            Stack(Ports(0, 0, ((taken, 0),)), [])
    Ports(0, 0, ((taken, 0),)).must_be_free()


def test_a_port_that_a_caller_has_is_not_said_to_be_the_stack() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as caller:
        taken = caller.getsockname()[1]
        with pytest.raises(StackFailed, match=f"Port {taken}: .*A connection has it"):
            Ports(taken, 0, ()).must_be_free()
