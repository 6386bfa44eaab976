import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from sensorium.errors import QueueFull
from tests.logged import Logged, logged
from tests.rpc.peer import EXCHANGE, STREAM, UNARY, ended, peer
from tests.waiting import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
METADATA = (("x-request-id", "req-7"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"), ("authorization", "CANARY"))


async def line_of(log: Logged, method: str) -> dict[str, Any]:
    await until(lambda: len(log.calls(method)) == 1)
    return log.calls(method)[0]


@pytest.mark.parametrize("method", [UNARY, STREAM, EXCHANGE])
async def test_a_call_is_found_by_its_ids(method: str) -> None:
    with logged() as log:
        async with peer() as server:
            assert await ended(server.call(method, metadata=METADATA)) is StatusCode.OK
            line = await line_of(log, method)
    assert (line["request_id"], line["trace_id"], line["code"], line["peer"]) == ("req-7", TRACE, "OK", "127.0.0.1")
    assert 0 < line["seconds"] < 60
    assert line["level"] == "INFO"
    assert "CANARY" not in log.text


async def test_a_line_of_text_says_method_and_code_once() -> None:
    with logged("line") as log:
        async with peer() as server:
            await ended(server.call(UNARY, metadata=METADATA))
            await until(lambda: f"{UNARY} OK seconds=" in log.text)
    (line,) = (line for line in log.text.splitlines() if " sensorium.calls " in line)
    assert (line.count(UNARY), line.count("OK")) == (1, 1)


async def test_the_reason_of_an_error_is_told() -> None:
    async def full() -> None:
        raise QueueFull("too many: CANARY", metadata={"x": "CANARY"})

    with logged() as log:
        async with peer() as server:
            server.text.behaviour = full
            assert await ended(server.call(UNARY)) is StatusCode.RESOURCE_EXHAUSTED
            line = await line_of(log, UNARY)
    assert (line["code"], line["reason"]) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert "CANARY" not in log.text


async def test_a_cancelled_call_has_its_line_too() -> None:
    with logged() as log:
        async with peer() as server:
            server.text.behaviour = lambda: asyncio.sleep(60)
            call = server.call(STREAM)
            await call.read()
            call.cancel()
            assert (await line_of(log, STREAM))["code"] == "CANCELLED"


async def test_calls_of_probes_and_of_unknown_methods_have_none() -> None:
    with logged() as log:
        async with peer() as server:
            await server.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
            with pytest.raises(grpc.aio.AioRpcError):
                await server.channel.unary_unary("/sensorium.v1.TextService/CANARY")(b"")
            await ended(server.call(UNARY))
            await line_of(log, UNARY)
    assert len(log.calls()) == 1
    assert "CANARY" not in log.text


async def test_the_lines_can_be_left_out() -> None:
    with logged(calls=False) as log:
        async with peer() as server:
            await ended(server.call(UNARY))
    assert not log.calls()


@pytest.mark.parametrize(("form", "shown"), [("line", False), ("json", False), ("json", True)])
async def test_tracebacks_tell_places_and_classes_but_not_what_exceptions_say(form: Any, shown: bool) -> None:
    async def fail() -> None:
        said = "CAN" + "ARY"
        try:
            raise KeyError(said)
        except KeyError as error:
            raise ExceptionGroup(said, [ValueError(said)]) from error

    with logged(form, exception_messages=shown) as log:
        async with peer() as server:
            server.text.behaviour = fail
            assert await ended(server.call(UNARY, metadata=METADATA)) is StatusCode.INTERNAL
            await until(lambda: f"{UNARY} INTERNAL" in log.text)
    assert all(f"builtins.{name}" in log.text or shown for name in ("KeyError", "ValueError", "ExceptionGroup"))
    assert "raise KeyError(said)" in log.text
    assert ("CANARY" in log.text) == shown
    assert "req-7" in log.text
