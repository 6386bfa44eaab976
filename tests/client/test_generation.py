import pytest

from sensorium import AsyncClient, BackendLost, Client, ModelNotServed
from sensorium.v1.common_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_USER, ChatMessage
from tests.client.events import STARTED, delta, says
from tests.client.fake import ENDPOINT, Fake

STREAM = "TextService/StreamGenerate"


def test_text_comes_in_pieces_with_what_was_told_beside_it(fake: Fake, client: Client) -> None:
    fake.answers[STREAM] = says("Hel", "", "lo")
    stream = client.text.stream_text("Hi", max_new_tokens=2, temperature=0, stop_strings=["."], request_id="mine")
    assert list(stream) == ["Hel", "lo"]
    assert stream.started is not None and stream.started.seed == 7
    assert stream.completed is not None and stream.completed.usage.output_token_count == 2
    assert (stream.events.request_id, stream.events.endpoint()) == ("mine", ENDPOINT)
    request = fake.seen[0].request
    assert (request.prompt, request.parameters.max_new_tokens, request.parameters.stop_strings) == ("Hi", 2, ["."])
    assert request.parameters.HasField("temperature") and not request.parameters.HasField("top_p")


async def test_text_comes_in_pieces_asynchronously(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers[STREAM] = says("Hel", "lo")
    async with async_client.text.stream_text("Hi", seed=3) as stream:
        assert [piece async for piece in stream] == ["Hel", "lo"]
        assert await stream.events.endpoint() == ENDPOINT
    assert stream.completed is not None
    assert fake.seen[0].request.parameters.seed == 3


def test_a_chat_is_a_conversation(fake: Fake, client: Client) -> None:
    fake.answers[STREAM] = says("fine")
    turns = [ChatMessage(role=ROLE_USER, content="How"), ChatMessage(role=ROLE_ASSISTANT, content="?")]
    list(client.text.stream_chat("Hi", system="Be brief."))
    list(client.text.stream_chat(turns))
    roles = [[message.role for message in seen.request.chat.messages] for seen in fake.seen]
    assert roles == [[ROLE_SYSTEM, ROLE_USER], [ROLE_USER, ROLE_ASSISTANT]]


def test_an_error_is_raised_while_iterating(fake: Fake, client: Client) -> None:
    def refuse(*_: object) -> None:
        raise ModelNotServed.of("x", ["tiny"])

    fake.answers[STREAM] = refuse
    stream = client.text.stream_text("Hi")
    with pytest.raises(ModelNotServed):
        next(stream)


def test_a_stream_that_ends_before_its_completed_is_no_answer(fake: Fake, client: Client) -> None:
    fake.answers[STREAM] = lambda request, context: iter([STARTED, delta("Hel")])
    stream = client.text.stream_text("Hi", request_id="mine")
    assert next(stream) == "Hel"
    with pytest.raises(BackendLost, match="before it was complete") as raised:
        next(stream)
    assert raised.value.request_id == "mine"


async def test_nor_is_an_asynchronous_one(fake: Fake, async_client: AsyncClient) -> None:
    fake.answers[STREAM] = lambda request, context: iter([STARTED, delta("Hel")])
    stream = async_client.text.stream_text("Hi")
    assert await anext(stream) == "Hel"
    for _ in range(2):
        with pytest.raises(BackendLost):
            await anext(stream)
