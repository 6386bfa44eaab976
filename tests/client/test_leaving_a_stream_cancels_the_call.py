import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sensorium import AsyncClient, Cancelled, Client, InvalidArgument, Violation
from sensorium.v1 import speech_pb2, text_pb2
from tests.client.events import STARTED, Endless
from tests.client.fake import Fake
from tests.fakes.text_service import FakeTextService

STREAM = "TextService/StreamGenerate"
REQUEST = text_pb2.StreamGenerateRequest(prompt="Hi")
PATIENCE = 300


@pytest.fixture
def endless(fake: Fake) -> Endless:
    behaviour = Endless()
    fake.answers[STREAM] = behaviour
    return behaviour


def test_breaking_out_of_a_for(endless: Endless, client: Client) -> None:
    stream = client.text.stream_generate(REQUEST)
    for event in stream:
        if event.WhichOneof("event") == "delta":
            break
    assert endless.left.wait(PATIENCE)


def test_an_exception_inside_a_for(endless: Endless, client: Client) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in client.text.stream_text("Hi"):
            raise ZeroDivisionError
    assert endless.left.wait(PATIENCE)


def test_leaving_the_with(endless: Endless, client: Client) -> None:
    with client.text.stream_generate(REQUEST) as stream:
        next(stream)
    assert endless.left.wait(PATIENCE)


def test_cancel_from_another_thread_ends_the_reader(endless: Endless, client: Client) -> None:
    stream = client.text.stream_generate(REQUEST)
    next(stream)
    threading.Timer(0.05, stream.cancel).start()
    with pytest.raises(Cancelled) as raised:
        list(stream)
    assert raised.value.request_id == stream.request_id
    assert endless.left.wait(PATIENCE)


def test_next_leaves_the_stream_running(endless: Endless, client: Client) -> None:
    stream = client.text.stream_generate(REQUEST)
    assert next(stream).WhichOneof("event") == "started"
    assert next(stream).WhichOneof("event") == "delta"
    assert not endless.left.is_set()
    stream.cancel()


async def left(endless: Endless) -> bool:
    return await asyncio.to_thread(endless.left.wait, PATIENCE)


async def test_breaking_out_of_an_async_for(endless: Endless, async_client: AsyncClient) -> None:
    stream = async_client.text.stream_generate(REQUEST)
    async for event in stream:
        if event.WhichOneof("event") == "delta":
            break
    assert await left(endless)


async def test_breaking_out_of_the_text(endless: Endless, async_client: AsyncClient) -> None:
    stream = async_client.text.stream_chat("Hi")
    async for piece in stream:
        assert piece == "x "
        break
    assert await left(endless)


async def test_leaving_the_async_with(endless: Endless, async_client: AsyncClient) -> None:
    async with async_client.text.stream_generate(REQUEST) as stream:
        await anext(stream)
    assert await left(endless)


async def test_cancel_ends_the_waiting_reader(endless: Endless, async_client: AsyncClient) -> None:
    stream = async_client.text.stream_generate(REQUEST)
    await anext(stream)
    asyncio.get_running_loop().call_later(0.05, stream.cancel)
    with pytest.raises(Cancelled):
        [event async for event in stream]
    assert await left(endless)


async def test_cancelling_the_task_cancels_the_call(endless: Endless, async_client: AsyncClient) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in async_client.text.stream_generate(REQUEST):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left(endless)


async def test_a_cut_stream_never_looks_complete(fake: Fake, async_client: AsyncClient) -> None:
    left = threading.Event()

    def silent(request: Any, context: Any) -> Iterator[text_pb2.StreamGenerateResponse]:
        context.add_callback(left.set)
        yield STARTED
        left.wait(PATIENCE)

    fake.answers[STREAM] = silent
    stream = async_client.text.stream_generate(REQUEST)
    await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.__anext__(), 0.05)
    with pytest.raises(Cancelled):
        await anext(stream)


async def test_cancelling_the_task_cancels_a_unary_call(fake: Fake, async_client: AsyncClient) -> None:
    begun, gone = threading.Event(), threading.Event()

    def compute(request: Any, context: Any) -> text_pb2.GenerateResponse:
        context.add_callback(gone.set)
        begun.set()
        gone.wait(PATIENCE)
        return text_pb2.GenerateResponse()

    fake.answers["TextService/Generate"] = compute
    task = asyncio.create_task(async_client.text.generate(text_pb2.GenerateRequest(prompt="Hi")))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(gone.wait, PATIENCE)


ENDED = speech_pb2.StreamTranscribeResponse(completed=speech_pb2.TranscriptionCompleted())


def config_then(pieces: int) -> Iterator[speech_pb2.StreamTranscribeRequest]:
    yield speech_pb2.StreamTranscribeRequest(config=speech_pb2.StreamTranscribeConfig(sample_rate_hertz=16000))
    for _ in range(pieces):
        yield speech_pb2.StreamTranscribeRequest(audio=b"12")


def echo(requests: Iterator[Any], context: Any) -> Iterator[speech_pb2.StreamTranscribeResponse]:
    for request in requests:
        text = request.config.model if request.HasField("config") else str(len(request.audio))
        yield speech_pb2.StreamTranscribeResponse(result=speech_pb2.TranscriptionResult(text=text))
    yield ENDED


async def asynchronous(requests: Iterator[Any]) -> AsyncIterator[Any]:
    for request in requests:
        yield request


def test_a_fed_stream_goes_both_ways(fake: Fake) -> None:
    fake.answers["SpeechService/StreamTranscribe"] = echo
    with Client(fake.target, model="ears", timeout=PATIENCE) as client:
        results = [event.result.text for event in client.speech.stream_transcribe(config_then(2))]
    assert results == ["ears", "2", "2", ""]


async def test_a_fed_async_stream_goes_both_ways(fake: Fake) -> None:
    fake.answers["SpeechService/StreamTranscribe"] = echo
    async with AsyncClient(fake.target, model="ears", timeout=PATIENCE) as client:
        stream = client.speech.stream_transcribe(asynchronous(config_then(2)))
        assert [event.result.text async for event in stream] == ["ears", "2", "2", ""]


def failing() -> Iterator[speech_pb2.StreamTranscribeRequest]:
    yield from config_then(1)
    raise OSError("the microphone is gone")


def test_an_exception_of_the_feed_reaches_the_reader(fake: Fake, client: Client) -> None:
    fake.answers["SpeechService/StreamTranscribe"] = echo
    with pytest.raises(OSError, match="microphone"):
        list(client.speech.stream_transcribe(failing()))


async def test_an_exception_of_the_async_feed_reaches_the_reader(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers["SpeechService/StreamTranscribe"] = echo
    with pytest.raises(OSError, match="microphone"):
        async for _ in async_client.speech.stream_transcribe(asynchronous(failing())):
            pass


async def test_a_feed_that_waits_forever_ends_with_its_call(fake: Fake, async_client: AsyncClient) -> None:
    closed = asyncio.Event()

    async def silence() -> AsyncIterator[speech_pb2.StreamTranscribeRequest]:
        try:
            yield next(config_then(0))
            await asyncio.Event().wait()
        finally:
            closed.set()

    def one(requests: Iterator[Any], context: Any) -> Iterator[speech_pb2.StreamTranscribeResponse]:
        yield ENDED

    fake.answers["SpeechService/StreamTranscribe"] = one
    assert len([event async for event in async_client.speech.stream_transcribe(silence())]) == 1
    await asyncio.wait_for(closed.wait(), PATIENCE)


async def test_a_status_sent_while_requests_flow_is_not_lost() -> None:
    """By gRPC's own writing, one in two would be told INTERNAL instead."""

    async def endless() -> AsyncIterator[speech_pb2.StreamTranscribeRequest]:
        yield next(config_then(0))
        while True:
            yield speech_pb2.StreamTranscribeRequest(audio=bytes(30_000))

    async with FakeTextService() as service, AsyncClient(service.address, timeout=PATIENCE) as client:
        service.script.error = InvalidArgument([Violation("audio", "is none")])
        for _ in range(30):
            with pytest.raises(InvalidArgument):
                _ = [event async for event in client.speech.stream_transcribe(endless())]
