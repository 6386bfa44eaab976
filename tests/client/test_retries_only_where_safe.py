import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sensorium import AsyncClient, BackendLost, Client, InvalidArgument, ModelNotReady, QueueFull, Retry, Violation
from sensorium.client.call import Call
from sensorium.errors import DeadlineExceeded, SensoriumError, Unavailable
from sensorium.v1 import speech_pb2, text_pb2
from tests.client.conftest import FAST
from tests.client.events import STARTED, delta, says
from tests.client.fake import Fake

TOKENIZE = "TextService/Tokenize"
STREAM = "TextService/StreamGenerate"
REQUEST = text_pb2.TokenizeRequest(texts=["a"])
LOADING = ModelNotReady("Loading.", retry_after=0.01)


def failing_first(times: int, error: SensoriumError, then: Callable[..., Any]) -> Callable[..., Any]:
    left = iter(range(times))

    def behaviour(request: Any, context: Any) -> Any:
        if next(left, None) is not None:
            raise error
        return then(request, context)

    return behaviour


def tokens(*_: object) -> text_pb2.TokenizeResponse:
    return text_pb2.TokenizeResponse(results=[text_pb2.TokenizeResponse.TokenList()])


def test_unavailable_is_tried_again(fake: Fake, client: Client) -> None:
    fake.answers[TOKENIZE] = failing_first(2, LOADING, tokens)
    client.text.tokenize(REQUEST)
    assert len(fake.seen) == 3
    assert len({seen.metadata["x-request-id"] for seen in fake.seen}) == 1


async def test_unavailable_is_tried_again_when_awaited(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers[TOKENIZE] = failing_first(2, LOADING, tokens)
    await async_client.text.tokenize(REQUEST)
    assert len(fake.seen) == 3


def test_attempts_are_bounded(fake: Fake, client: Client) -> None:
    fake.answers[TOKENIZE] = failing_first(9, LOADING, tokens)
    with pytest.raises(ModelNotReady):
        client.text.tokenize(REQUEST)
    assert len(fake.seen) == FAST.attempts


@pytest.mark.parametrize("retry", [None, Retry(attempts=1)])
def test_retries_can_be_switched_off(fake: Fake, retry: Retry | None) -> None:
    fake.answers[TOKENIZE] = failing_first(1, LOADING, tokens)
    with Client(fake.target, retry=retry) as client, pytest.raises(ModelNotReady):
        client.text.tokenize(REQUEST)
    assert len(fake.seen) == 1


@pytest.mark.parametrize("error", [InvalidArgument([Violation("texts", "no")]), QueueFull("Full.", retry_after=0.01)])
def test_other_errors_are_final(fake: Fake, client: Client, error: SensoriumError) -> None:
    fake.answers[TOKENIZE] = failing_first(1, error, tokens)
    with pytest.raises(type(error)):
        client.text.tokenize(REQUEST)
    assert len(fake.seen) == 1


def test_a_full_queue_is_tried_again_if_asked(fake: Fake) -> None:
    fake.answers[TOKENIZE] = failing_first(1, QueueFull("Full.", retry_after=0.01), tokens)
    with Client(fake.target, retry=Retry(when_queue_full=True)) as client:
        client.text.tokenize(REQUEST)
    assert len(fake.seen) == 2


def test_a_stream_is_tried_again_before_its_first_event(fake: Fake, client: Client) -> None:
    fake.answers[STREAM] = failing_first(2, LOADING, says("a", "b"))
    assert "".join(client.text.stream_text("Hi")) == "ab"
    assert len(fake.seen) == 3


async def test_an_async_stream_is_tried_again_before_its_first_event(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers[STREAM] = failing_first(2, LOADING, says("a", "b"))
    assert [piece async for piece in async_client.text.stream_text("Hi")] == ["a", "b"]
    assert len(fake.seen) == 3


def cut(*_: object) -> Iterator[text_pb2.StreamGenerateResponse]:
    yield STARTED
    yield delta("a")
    raise BackendLost("The replica is gone.", retry_after=0.01)


def test_a_stream_that_began_is_not_tried_again(fake: Fake, client: Client) -> None:
    fake.answers[STREAM] = cut
    pieces: list[str] = []
    with pytest.raises(BackendLost):
        pieces.extend(client.text.stream_text("Hi"))
    assert (pieces, len(fake.seen)) == (["a"], 1)


async def test_an_async_stream_that_began_is_not_tried_again(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers[STREAM] = cut
    with pytest.raises(BackendLost):
        [piece async for piece in async_client.text.stream_text("Hi")]
    assert len(fake.seen) == 1


def test_a_fed_stream_is_never_tried_again(fake: Fake, client: Client) -> None:
    fake.answers["SpeechService/StreamTranscribe"] = failing_first(9, LOADING, tokens)
    with pytest.raises(ModelNotReady):
        list(client.speech.stream_transcribe([speech_pb2.StreamTranscribeRequest()]))
    assert len(fake.seen) == 1


def test_no_server_is_unavailable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # held, so that no other process listens there meanwhile
        target = f"127.0.0.1:{closed.getsockname()[1]}"
        with Client(target, retry=FAST) as client, pytest.raises(Unavailable):
            client.text.tokenize(REQUEST, timeout=300)


def test_a_wait_past_the_deadline_or_too_long_is_not_begun() -> None:
    soon = Call.of({"timeout": 5.0}, None, ())
    endless = Call.of({}, None, ())
    retry = Retry(longest_wait=30)
    assert retry.wait(Unavailable(retry_after=20), 1, soon) is None
    assert retry.wait(Unavailable(retry_after=40), 1, endless) is None
    assert retry.wait(DeadlineExceeded(), 1, endless) is None


def test_the_servers_wait_is_honoured_and_ours_doubles() -> None:
    call = Call.of({}, None, ())
    honoured = Retry().wait(Unavailable(retry_after=2), 1, call)
    assert honoured is not None and 2 <= honoured <= 2.2
    retry = Retry(attempts=9, first_wait=1, longest_wait=3)
    waits = [retry.wait(Unavailable(), attempt, call) or 0 for attempt in (1, 2, 5)]
    assert all(low <= wait <= high for wait, (low, high) in zip(waits, [(0.5, 1), (1, 2), (1.5, 3)], strict=True))
