"""Every error class survives a round trip over a real gRPC server: same class, same details."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from sensorium import rpc
from sensorium.errors import (
    DOMAIN,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    QueueFull,
    QuotaExceeded,
    ResourceExhausted,
    SensoriumError,
    TaskNotSupported,
    Unavailable,
    Violation,
)
from sensorium.status import STATUS_LIMIT_BYTES, from_rpc_error, from_status, to_status, tree
from sensorium.v1 import text_pb2, text_pb2_grpc

ERRORS = [kind for kind in tree() if kind is not SensoriumError]


class _Raises(text_pb2_grpc.TextServiceServicer):
    error: Exception = Internal()

    async def Tokenize(self, request: Any, context: Any) -> Any:
        raise self.error

    async def StreamGenerate(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield text_pb2.StreamGenerateResponse()
        raise self.error


@dataclass
class Peer:
    raises: _Raises
    stub: Any
    target: str

    def asked(self) -> Any:
        return self.stub.Tokenize(text_pb2.TokenizeRequest(), metadata=(("x-request-id", "r-1"),))


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    raises = _Raises()
    server = rpc.Server(rpc.ServerSettings(port=0, metrics_port=0, drain_delay_seconds=0), ["sensorium.v1.TextService"])
    text_pb2_grpc.add_TextServiceServicer_to_server(raises, server.grpc)
    async with server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Peer(raises, text_pb2_grpc.TextServiceStub(channel), f"127.0.0.1:{server.port}")


def example(kind: type[SensoriumError]) -> SensoriumError:
    if issubclass(kind, InvalidArgument):
        error: SensoriumError = kind(
            [Violation("texts[3]", "is empty"), Violation("parameters.top_p", "is 2; at most 1")]
        )
    else:
        error = kind(f"Something about {kind.__name__}, überall.")
    error.metadata = {"model": "tiny"}
    error.retry_after = 1.25
    return error


async def _caught(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if hasattr(call, "read"):
            async for _ in call:
                pass
        await call
    return caught.value


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
async def test_each_error_comes_back_as_it_was_raised(peer: Peer, kind: type[SensoriumError]):
    peer.raises.error = sent = example(kind)
    caught = await _caught(peer.asked())
    assert caught.code() is kind.code
    assert caught.details() == sent.message
    got = from_rpc_error(caught)
    assert type(got) is kind
    assert (got.message, got.metadata, got.retry_after, got.request_id) == (
        sent.message,
        {"model": "tiny"},
        1.25,
        "r-1",
    )
    if isinstance(sent, InvalidArgument):
        assert isinstance(got, InvalidArgument)
        assert got.violations == sent.violations


async def test_an_error_in_a_stream_comes_back_too(peer: Peer):
    peer.raises.error = example(QuotaExceeded)
    got = from_rpc_error(await _caught(peer.stub.StreamGenerate(text_pb2.StreamGenerateRequest())))
    assert isinstance(got, QuotaExceeded)


async def test_a_blocking_client_gets_the_same_error(peer: Peer):
    peer.raises.error = example(QuotaExceeded)

    def ask() -> grpc.RpcError:
        with grpc.insecure_channel(peer.target) as channel, pytest.raises(grpc.RpcError) as caught:
            text_pb2_grpc.TextServiceStub(channel).Tokenize(text_pb2.TokenizeRequest())
        return caught.value

    got = from_rpc_error(await asyncio.to_thread(ask))
    assert isinstance(got, QuotaExceeded)
    assert (got.metadata, got.retry_after) == ({"model": "tiny"}, 1.25)
    assert got.request_id


def test_reasons_are_unique_and_well_formed():
    reasons = [kind.reason for kind in tree()]
    assert len(set(reasons)) == len(reasons)
    assert all(reason == reason.upper() and len(reason) <= 63 for reason in reasons)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_each_detail_is_there_once(kind: type[SensoriumError]):
    status = to_status(example(kind), "r-1")
    kinds = [detail.TypeName() for detail in status.details]
    expected = [ErrorInfo, RetryInfo]
    expected += [BadRequest] if kind is InvalidArgument else []
    expected += [QuotaFailure] if kind is QuotaExceeded else []
    assert sorted(kinds) == sorted(message.DESCRIPTOR.full_name for message in expected)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason, dict(info.metadata)) == (
        DOMAIN,
        kind.reason,
        {"model": "tiny", "requestId": "r-1"},
    )


@pytest.mark.parametrize("text", ["x", "ü", "🌳", "\ud800"])
@pytest.mark.parametrize("length", [1, 500, 20_000])
def test_a_status_stays_below_the_limit_and_says_how_much_is_left_out(text: str, length: int):
    violations = [Violation(f"texts[{i}]" + text * length, text * length) for i in range(200)]
    error = InvalidArgument(violations)
    error.metadata = {f"key{i}": text * length for i in range(50)}
    status = to_status(error, "r" * 128)
    assert len(status.message.encode()) + status.ByteSize() < STATUS_LIMIT_BYTES
    got = from_status(status, error.code)
    assert isinstance(got, InvalidArgument)
    kept = len(got.violations)
    assert 0 < kept < 200
    assert got.metadata["omittedViolations"] == str(200 - kept)
    assert f"({200 - kept} more violations are left out.)" in got.message
    assert got.violations[0].field.startswith("texts[0]")
    assert got.request_id == "r" * 128


def test_what_fits_is_not_touched():
    error = InvalidArgument([Violation(f"texts[{i}]", "is empty") for i in range(20)])
    got = from_status(to_status(error), error.code)
    assert isinstance(got, InvalidArgument)
    assert got.violations == error.violations
    assert got.message == error.message


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.UNIMPLEMENTED, TaskNotSupported),
        (grpc.StatusCode.INTERNAL, Internal),
        (grpc.StatusCode.DATA_LOSS, SensoriumError),
    ],
)
def test_errors_of_grpc_itself_are_told_by_their_code(code: grpc.StatusCode, kind: type[SensoriumError]):
    got = from_rpc_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "gRPC says so"))
    assert type(got) is kind
    assert got.message == "gRPC says so"
    assert got.metadata == {"code": code.name}
    assert got.request_id is None


@pytest.mark.parametrize("packed", [b"\xff\xff", b"", Status(message="other").SerializeToString()])
def test_details_of_others_do_no_harm(packed: bytes):
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", packed))
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailing, "gone")
    assert type(from_rpc_error(error)) is Unavailable


def test_reasons_of_other_domains_are_not_taken_for_ours():
    status = Status(message="elsewhere")
    status.details.add().Pack(ErrorInfo(reason="QUEUE_FULL", domain="other", metadata={"secret": "x"}))
    got = from_status(status, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert type(got) is ResourceExhausted
    assert got.metadata == {"code": "RESOURCE_EXHAUSTED"}


def test_a_reason_of_a_newer_server_becomes_the_class_of_its_code():
    status = Status(message="new")
    status.details.add().Pack(ErrorInfo(reason="SOMETHING_NEW", domain=DOMAIN, metadata={"a": "b"}))
    got = from_status(status, grpc.StatusCode.UNAVAILABLE)
    assert type(got) is Unavailable
    assert got.metadata["a"] == "b"


@pytest.mark.parametrize("text", ["x", "ü", "🌳"])
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_no_error_of_the_tree_exceeds_the_limit(kind: type[SensoriumError], text: str):
    error = example(kind)
    error.message = text * 10_000
    error.metadata = {"tenant": text * 10_000, **{f"key{i}": text * 10_000 for i in range(100)}}
    status = to_status(error, "r" * 128)
    assert len(status.message.encode()) + status.ByteSize() < STATUS_LIMIT_BYTES
    assert from_status(status, kind.code).request_id == "r" * 128


def test_a_wait_that_is_over_is_none() -> None:
    status = to_status(QueueFull("x", retry_after=1))
    for detail in status.details:
        if detail.Is(RetryInfo.DESCRIPTOR):
            detail.Pack(RetryInfo(retry_delay=Duration(seconds=-5)))
    assert from_status(status, grpc.StatusCode.RESOURCE_EXHAUSTED).retry_after == 0
