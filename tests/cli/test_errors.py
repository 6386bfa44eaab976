from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import grpc
import pytest
from rich.console import Console

from sensorium.cli.failure import show
from sensorium.errors import (
    InvalidArgument,
    ModelNotServed,
    NoEndpoint,
    QueueFull,
    TaskNotSupported,
    Unavailable,
    Violation,
)
from tests.cli.conftest import Invoke
from tests.client.fake import Fake


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            InvalidArgument([Violation("texts[0]", "is empty"), Violation("top_n", "is below 1")]),
            ["INVALID_REQUEST", "\n  texts[0]: is empty\n", "\n  top_n: is below 1\n"],
        ),
        (InvalidArgument([Violation("model", "must be given")]), ["→ Name one with --model; `sensorium models list`"]),
        (ModelNotServed.of("x", ["tiny"]), ["MODEL_NOT_SERVED", "Served: tiny.", "`sensorium models list`"]),
        (TaskNotSupported("Cannot."), ["TASK_NOT_SUPPORTED", "`sensorium models list`"]),
        (QueueFull("Full.", retry_after=2.5), ["QUEUE_FULL  Full.", "Try again in 2.5 s."]),
        (NoEndpoint("None."), ["NO_ENDPOINT  None.", "The gateway's log tells which endpoints it cannot reach"]),
    ],
)
def test_an_error_is_one_block(fake: Fake, invoke: Invoke, error: Exception, said: list[str]) -> None:
    def refuse(*_: object) -> None:
        raise error

    fake.answers["TextService/Tokenize"] = refuse
    done = invoke("text", "tokenize", "a", "--request-id", "mine")
    assert (done.exit_code, done.stdout) == (1, "")
    assert all(text in done.stderr for text in [*said, "request id mine"]), done.stderr


def test_what_is_no_sensorium_is_asked_about(invoke: Invoke) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    done = invoke("models", "list", "--target", f"127.0.0.1:{port}")
    server.stop(None)
    assert done.exit_code == 1
    assert f"Is it a sensorium gateway or service that answers at 127.0.0.1:{port}?" in done.stderr


def test_a_missing_server_is_asked_about(invoke: Invoke) -> None:
    done = invoke("models", "list", "--target", "127.0.0.1:1")
    assert done.exit_code == 1
    assert done.stderr == (
        "UNAVAILABLE  There is no connection to 127.0.0.1:1. Failed to connect to remote host: Connection refused\n"
        "  → Is the server running at 127.0.0.1:1? In a checkout, `make serve` starts one.\n"
        "  → Another one is named by --target, or SENSORIUM_TARGET, as HOST:PORT.\n"
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "errors resolving gate:1: [field:hostname lookup error:address lookup failed for gate:1: Name not found]",
            ["There is no connection to gate:1. Name not found\n", "is HOST:PORT of a gateway or service"],
        ),
        (
            "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:9050: Failed parsing HTTP/2 "
            "(Expected SETTINGS frame as the first frame, got frame type 79)",
            ["There is no connection to gate:1. Failed parsing", "speaks no gRPC, as a metrics port does"],
        ),
        (
            "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls handshake failed "
            "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER",
            ["There is no connection to gate:1. Tls handshake failed", "speaks no TLS: leave out --tls"],
        ),
        (
            "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls handshake failed "
            "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
            "CERTIFICATE_VERIFY_FAILED: self signed certificate: OK",
            ["There is no connection to gate:1. Tls handshake failed", "signed the server's with --ca-file."],
        ),
        (
            "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:1: Custom verification check "
            "failed with error: UNAUTHENTICATED: Hostname Verification Check failed.",
            ["There is no connection to gate:1. Custom verification", "for another name: give that with --server-name"],
        ),
    ],
)
def test_what_grpc_says_of_a_connection_is_told_with_what_to_do(message: str, said: list[str]) -> None:
    error = Unavailable(message, metadata={"code": "UNAVAILABLE"})
    error.request_id = "mine"
    told = StringIO()
    show(error, "gate:1", Console(file=told, width=100))
    assert all(text in told.getvalue() for text in said), told.getvalue()
    assert "mine" not in told.getvalue()  # no log has it
