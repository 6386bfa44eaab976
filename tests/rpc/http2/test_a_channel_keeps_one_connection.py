import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from local.stack import free_ports
from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.channel import Channel
from sensorium.rpc.http2.frames import frame, goaway_frame, header_frames, prefixed, settings_frame, window_frame
from sensorium.rpc.http2.stream import WINDOW
from tests.certificates import certificate
from tests.rpc.http2.endpoint import ANSWER, METHOD, answer, endpoint
from tests.rpc.http2.test_how_a_call_ends_at_its_client import ended
from tests.waiting import until


async def failure(opening: Any) -> grpc.aio.AioRpcError:
    """Returns why a call cannot begin."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await opening
    return caught.value


async def test_it_connects_once_for_all_who_wait() -> None:
    async with endpoint() as there:
        opening = [asyncio.ensure_future(there.channel.open(METHOD)) for _ in range(3)]
        wire = await there.taken()
        calls = [await one for one in opening]
        assert [call.number for call in calls] == [1, 3, 5]
        await there.serves(wire)
        assert there.connections.empty()


async def test_while_nobody_answers_calls_fail_at_once_and_later_ones_reach_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.channel._FIRST_PAUSE_SECONDS", 1000.0)
    (port,) = free_ports(1)
    channel = Channel(f"127.0.0.1:{port}", 1000)
    for _ in range(2):
        error = await failure(channel.open(METHOD))
        assert error.code() is StatusCode.UNAVAILABLE
        assert error.details() == "Connection refused"
        channel._pause = 1000.0
    # The second did not try: somebody who listens now is not found before it is time.
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: taken.append(writer), "127.0.0.1", port)
    await failure(channel.open(METHOD))
    assert not taken
    channel._not_before = 0.0
    opening = asyncio.ensure_future(channel.open(METHOD))
    await until(lambda: bool(taken))
    taken[0].write(settings_frame({}))
    assert (await opening).number == 1
    await channel.close()
    taken[0].transport.abort()
    server.close()


async def test_who_is_lost_is_lost_with_its_calls_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.channel._FIRST_PAUSE_SECONDS", 0.0)
    async with endpoint() as there:
        wire, call = await there.called()
        wire.cut()
        assert await ended(call) is StatusCode.UNAVAILABLE
        again, call = await there.called()
        answer(again, 1)
        assert await ended(call) is StatusCode.OK


async def test_what_a_farewell_leaves_out_was_not_begun_and_the_rest_is_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.channel._FIRST_PAUSE_SECONDS", 0.0)
    async with endpoint() as there:
        old, call = await there.called()
        left_out = await there.channel.open(METHOD)
        old.send(goaway_frame(2**31 - 1, 0), frame(frames.PING, 0, 0, b"farewell"))
        assert await old.until(frames.PING) == (frames.ACK, b"farewell")
        old.send(goaway_frame(1, 0))
        assert await ended(left_out) is StatusCode.UNAVAILABLE
        new, other = await there.called()
        answer(new, 1)
        assert await ended(other) is StatusCode.OK
        answer(old, 1, b"well")
        assert [await call.read(), await call.read()] == [b"well", None]
        assert await old.farewell() == 0
        await there.serves(new)


async def test_no_more_calls_than_the_server_takes_are_begun_and_the_others_in_their_order() -> None:
    async with endpoint() as there:
        opening = [asyncio.ensure_future(there.channel.open(METHOD)) for _ in range(5)]
        wire = await there.taken(max_concurrent_streams=1)
        with await opening[0]:
            assert await wire.asked() == 1
        (await opening[1]).ask(b"")
        assert await wire.asked() == 3
        opening[2].cancel()
        late = await failure(there.channel.open(METHOD, (), 0.05))
        assert late.code() is StatusCode.DEADLINE_EXCEEDED
        assert len(next(iter(there.channel._connections))._waiting) == 2
        wire.send(settings_frame({frames.MAX_CONCURRENT_STREAMS: 3}))
        assert [(await opening[3]).number, (await opening[4]).number] == [5, 7]


async def test_the_place_of_one_that_leaves_in_the_moment_it_is_let_in_is_the_next_one_s() -> None:
    async with endpoint() as there:
        opening = [asyncio.ensure_future(there.channel.open(METHOD)) for _ in range(3)]
        wire = await there.taken(max_concurrent_streams=1)
        with await opening[0]:
            await wire.asked()
        opening[1].cancel()
        assert (await opening[2]).number == 3


async def test_who_waits_for_room_and_is_told_farewell_is_let_in_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.channel._FIRST_PAUSE_SECONDS", 0.0)
    async with endpoint() as there:
        opening = asyncio.ensure_future(there.channel.open(METHOD))
        wire = await there.taken(max_concurrent_streams=0)
        while not (await wire.until(frames.SETTINGS))[0] & frames.ACK:
            pass
        wire.send(goaway_frame(0, 0))
        await there.taken()
        assert (await opening).number == 1


async def test_what_nobody_reads_is_not_asked_for() -> None:
    async with endpoint() as there:
        wire, call = await there.called()
        wire.send(header_frames(1, wire.block(ANSWER), 0, 16_384))
        message = frame(frames.DATA, 0, 1, prefixed(bytes(10_000)))
        wire.send(*[message] * (WINDOW // 10_005), frame(frames.PING, 0, 0, bytes(8)))
        while (came := await wire.frame()) is not None and came[0] != frames.PING:
            assert came[:3] != (frames.WINDOW_UPDATE, 0, 1)
        for _ in range(WINDOW // 10_005):
            await call.read()
        await wire.until(frames.WINDOW_UPDATE, 1)


async def test_writing_waits_for_the_server() -> None:
    async with endpoint() as there:
        opening = asyncio.ensure_future(there.channel.open(METHOD))
        wire = await there.taken(initial_window_size=8)
        call = await opening
        await call.write(b"one")
        writing = asyncio.ensure_future(call.write(b"two"))
        assert (await wire.until(frames.DATA, 1))[1] == prefixed(b"one")
        call.done_writing()
        assert not writing.done()
        wire.send(window_frame(1, 8))
        await writing
        assert (await wire.until(frames.DATA, 1)) == (0, prefixed(b"two"))
        assert (await wire.until(frames.DATA, 1)) == (frames.END_STREAM, b"")


async def test_by_tls_only_who_has_agreed_to_http2_is_spoken_to(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "DNS:there.example")
    for protocols, name, words in (
        (["h2"], "there.example", ""),
        (["h2"], "elsewhere.example", "certificate"),
        (["http/1.1"], "there.example", "HTTP/2"),
    ):
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(chain, key)
        theirs.set_alpn_protocols(protocols)
        own = ssl.create_default_context(cafile=str(chain))
        own.set_alpn_protocols(["h2"])
        server = await asyncio.start_server(
            lambda reader, writer: writer.write(settings_frame({})), "127.0.0.1", 0, ssl=theirs
        )
        channel = Channel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", 1000, own, name)
        if words:
            assert words in str((await failure(channel.open(METHOD))).details())
        else:
            assert (await channel.open(METHOD)).number == 1
        await channel.close()
        server.close()


async def test_after_it_was_closed_nothing_begins() -> None:
    async with endpoint() as there:
        wire, call = await there.called()
        closing = asyncio.ensure_future(there.channel.close())
        assert await ended(call) is StatusCode.UNAVAILABLE
        assert await wire.farewell() == 0
        wire.cut()
        await closing
        assert (await failure(there.channel.open(METHOD))).code() is StatusCode.UNAVAILABLE
