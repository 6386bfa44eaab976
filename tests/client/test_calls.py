import gc
import sys
import threading
from typing import Any

import pytest

from sensorium import (
    AsyncClient,
    Cancelled,
    Client,
    DeadlineExceeded,
    InvalidArgument,
    ModelNotServed,
    ResourceExhausted,
    Violation,
)
from sensorium.v1 import models_pb2, text_pb2
from tests.client.events import Endless
from tests.client.fake import ENDPOINT, Fake

TOKENIZE = "TextService/Tokenize"
REQUEST = text_pb2.TokenizeRequest(texts=["a", "b"])


def tokens(request: text_pb2.TokenizeRequest, context: object) -> text_pb2.TokenizeResponse:
    return text_pb2.TokenizeResponse(results=[text_pb2.TokenizeResponse.TokenList() for _ in request.texts])


def test_a_unary_call_returns_the_response(fake: Fake, client: Client) -> None:
    fake.answers[TOKENIZE] = tokens
    assert len(client.text.tokenize(REQUEST).results) == 2
    assert fake.seen[0].request == REQUEST


@pytest.mark.parametrize("seconds", [1e30, float("inf")])
def test_a_deadline_beyond_all_measure_has_not_passed(fake: Fake, client: Client, seconds: float) -> None:
    fake.answers[TOKENIZE] = tokens
    assert len(client.text.tokenize(REQUEST, timeout=seconds).results) == 2


@pytest.mark.parametrize(
    "entry",
    [("Key", "v"), ("a key", "v"), ("key", "v\n"), ("key", "ü"), ("key", b"\xff")],
    ids=lambda entry: str(entry),
)
async def test_metadata_that_cannot_be_sent_are_the_callers_mistake(
    client: Client, async_client: AsyncClient, entry: tuple[str, str | bytes]
) -> None:
    with pytest.raises(ValueError, match="metadata"):
        client.text.tokenize(REQUEST, metadata=[entry])
    with pytest.raises(ValueError, match="metadata"):
        await async_client.text.tokenize(REQUEST, metadata=[entry])


async def test_a_request_of_another_class_is_refused(client: Client, async_client: AsyncClient) -> None:
    wrong: Any = text_pb2.GenerateRequest(prompt="Its bytes could be read as a StreamGenerateRequest.")
    for call in (client.text.stream_generate, client.text.embed, async_client.text.stream_generate):
        with pytest.raises(TypeError, match=r"^(StreamGenerate|Embed) takes \1Request, not GenerateRequest\.$"):
            call(wrong)
    with pytest.raises(TypeError, match="StreamTranscribe takes StreamTranscribeRequest, not GenerateRequest"):
        list(client.speech.stream_transcribe(iter([wrong])))


def test_a_misspelt_option_is_refused(client: Client) -> None:
    options: Any = {"timout": 1}
    with pytest.raises(TypeError, match="timout"):
        client.text.tokenize(REQUEST, **options)


def test_metadata_of_bytes_are_sent(fake: Fake, client: Client) -> None:
    fake.answers[TOKENIZE] = tokens
    client.text.tokenize(REQUEST, metadata=[("traceparent", "00 ~"), ("key-bin", b"\xff\n")])
    assert fake.seen[0].metadata["key-bin"] == b"\xff\n"


async def test_a_unary_call_is_awaited(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers[TOKENIZE] = tokens
    assert len((await async_client.text.tokenize(REQUEST)).results) == 2


async def test_an_error_that_was_dealt_with_keeps_no_request(
    fake: Fake, client: Client, async_client: AsyncClient
) -> None:
    def fail(request: object, context: object) -> None:
        raise InvalidArgument([Violation("texts", "are wrong")])

    fake.answers[TOKENIZE] = fail
    request = text_pb2.TokenizeRequest(texts=["large"])
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(request)
        with pytest.raises(InvalidArgument):
            client.text.tokenize(request)
        with pytest.raises(InvalidArgument):
            await async_client.text.tokenize(request)
        assert sys.getrefcount(request) == before
    finally:
        gc.enable()


def test_a_reply_tells_request_id_and_endpoint(fake: Fake, client: Client) -> None:
    fake.answers[TOKENIZE] = tokens
    reply = client.text.tokenize.reply(REQUEST, request_id="mine", metadata=[("traceparent", "00-1")])
    assert (reply.request_id, reply.endpoint, reply.metadata["x-request-id"]) == ("mine", ENDPOINT, "mine")
    assert fake.seen[0].metadata["traceparent"] == "00-1"


async def test_an_awaited_reply_tells_request_id_and_endpoint(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers[TOKENIZE] = tokens
    reply = await async_client.text.tokenize.reply(REQUEST)
    assert reply.endpoint == ENDPOINT
    assert reply.request_id == fake.seen[0].metadata["x-request-id"] != ""


def test_the_clients_model_fills_in_and_the_callers_message_stays(fake: Fake) -> None:
    fake.answers[TOKENIZE] = tokens
    request = text_pb2.TokenizeRequest(texts=["a"])
    named = text_pb2.TokenizeRequest(model="other", texts=["a"])
    with Client(fake.target, model="tiny") as client:
        client.text.tokenize(request)
        client.text.tokenize(named)
    assert [seen.request.model for seen in fake.seen] == ["tiny", "other"]
    assert request.model == ""


def test_an_error_has_its_class_its_violations_and_its_request_id(fake: Fake, client: Client) -> None:
    def refuse(*_: object) -> None:
        raise InvalidArgument([Violation("texts[0]", "is empty"), Violation("texts[1]", "is too long")])

    fake.answers[TOKENIZE] = refuse
    with pytest.raises(InvalidArgument) as raised:
        client.text.tokenize(REQUEST, request_id="r-1")
    assert raised.value.violations == (Violation("texts[0]", "is empty"), Violation("texts[1]", "is too long"))
    assert raised.value.request_id == "r-1"
    assert len(fake.seen) == 1


async def test_an_awaited_error_has_its_class_and_its_facts(fake: Fake, async_client: AsyncClient) -> None:
    def refuse(*_: object) -> None:
        raise ModelNotServed.of("x", ["tiny"])

    fake.answers["ModelService/GetModel"] = refuse
    with pytest.raises(ModelNotServed) as raised:
        await async_client.models.get_model(models_pb2.GetModelRequest(model="x"), request_id="r-2")
    assert raised.value.metadata["servedModels"] == "tiny"
    assert raised.value.request_id == "r-2"


@pytest.mark.parametrize("of_the_call", [True, False])
def test_a_deadline_ends_the_call(fake: Fake, of_the_call: bool) -> None:
    release = threading.Event()
    fake.answers[TOKENIZE] = lambda request, context: release.wait(60) and tokens(request, context)
    try:
        with Client(fake.target, timeout=60 if of_the_call else 0.2) as client, pytest.raises(DeadlineExceeded):
            if of_the_call:
                client.text.tokenize(REQUEST, timeout=0.2)
            else:
                client.text.tokenize(REQUEST)
    finally:
        release.set()


async def test_a_deadline_ends_the_awaited_call(fake: Fake, async_client: AsyncClient) -> None:
    release = threading.Event()
    fake.answers[TOKENIZE] = lambda request, context: release.wait(60) and tokens(request, context)
    try:
        with pytest.raises(DeadlineExceeded):
            await async_client.text.tokenize(REQUEST, timeout=0.2)
    finally:
        release.set()


def test_messages_have_a_limit_either_way(fake: Fake) -> None:
    large = text_pb2.TokenizeRequest(texts=["x" * 5_000])
    fake.answers["TextService/Detokenize"] = lambda request, context: text_pb2.DetokenizeResponse(texts=large.texts)
    with Client(fake.target, message_bytes=4_000) as client:
        with pytest.raises(ResourceExhausted):
            client.text.tokenize(large)
        with pytest.raises(ResourceExhausted):
            client.text.detokenize(text_pb2.DetokenizeRequest())
    assert [seen.rpc for seen in fake.seen] == ["TextService/Detokenize"]


def test_large_messages_pass_by_default(fake: Fake, client: Client) -> None:
    large = text_pb2.DetokenizeResponse(texts=["x" * 6_000_000])
    fake.answers["TextService/Detokenize"] = lambda request, context: large
    assert client.text.detokenize(text_pb2.DetokenizeRequest()) == large


def test_closing_the_client_ends_its_calls(fake: Fake, client: Client) -> None:
    fake.answers["TextService/StreamGenerate"] = Endless()
    stream = client.text.stream_text("Hi")
    next(stream)
    client.close()
    with pytest.raises(Cancelled):
        list(stream)


def test_a_closed_client_says_so(fake: Fake) -> None:
    client = Client(fake.target)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.text.tokenize(REQUEST)


async def test_a_closed_async_client_says_so(fake: Fake) -> None:
    client = AsyncClient(fake.target)
    await client.close()
    with pytest.raises(RuntimeError, match="closed"):
        await client.text.tokenize(REQUEST)


def test_an_unsendable_request_id_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="request_id"):
        client.text.tokenize(REQUEST, request_id="ü")
