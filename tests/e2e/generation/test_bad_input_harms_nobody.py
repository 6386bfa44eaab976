import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
import pytest_asyncio

from sensorium import AsyncClient, InvalidArgument, ModelNotServed, ResourceExhausted, SensoriumError, TaskNotSupported
from sensorium.v1.common_pb2 import (
    ROLE_USER,
    BeamSearchParameters,
    ChatMessage,
    ChatPrompt,
    DeliveredTokens,
    GenerationParameters,
    StructuredOutput,
    TokenIds,
)
from sensorium.v1.text_pb2 import EmbedRequest, GenerateRequest
from sensorium.v1.vision_pb2 import EmbedImageRequest
from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import read, request
from tests.e2e.stack import RunningStack, running_stack
from tests.tiny.language_models import CONTEXT, greedy, tokenizer
from tests.waiting import until

NEIGHBOURS = [[10, 20, 30], [11] * 50]
NEIGHBOUR_TOKENS = 120

REFUSED: dict[str, tuple[GenerateRequest, list[str]]] = {
    "no input": (GenerateRequest(), ["input"]),
    "empty prompt": (GenerateRequest(prompt=""), ["prompt"]),
    "empty ids": (GenerateRequest(prompt_token_ids=TokenIds()), ["prompt_token_ids.ids"]),
    "empty chat": (GenerateRequest(chat=ChatPrompt()), ["chat.messages"]),
    "ids out of range": (
        GenerateRequest(prompt_token_ids=TokenIds(ids=[7, 1_000_000, -1])),
        ["prompt_token_ids.ids[1]", "prompt_token_ids.ids[2]"],
    ),
    "too long": (GenerateRequest(prompt_token_ids=TokenIds(ids=[7] * CONTEXT)), ["prompt_token_ids.ids"]),
    "too long text": (GenerateRequest(prompt="word " * 500_000), ["prompt"]),
    "no room": (
        GenerateRequest(prompt="a", parameters=GenerationParameters(max_new_tokens=CONTEXT)),
        ["parameters.max_new_tokens"],
    ),
    "out of range, all at once": (
        GenerateRequest(
            prompt="",
            parameters=GenerationParameters(
                temperature=-1,
                top_k=-1,
                top_p=1.5,
                min_p=float("nan"),
                seed=-1,
                max_new_tokens=0,
                stop_strings=["", "x" * 300],
                stop_token_ids=[99_999],
                presence_penalty=3.0,
                candidate_count=17,
                prompt_logprob_count=21,
                beam_search=BeamSearchParameters(beam_count=1, length_penalty=float("nan")),
                structured_output=StructuredOutput(regex="(a"),
            ),
        ),
        [
            "prompt",
            "parameters.temperature",
            "parameters.top_k",
            "parameters.top_p",
            "parameters.min_p",
            "parameters.seed",
            "parameters.max_new_tokens",
            "parameters.stop_strings[0]",
            "parameters.stop_strings[1]",
            "parameters.stop_token_ids[0]",
            "parameters.presence_penalty",
            "parameters.candidate_count",
            "parameters.prompt_logprob_count",
            "parameters.beam_search.beam_count",
            "parameters.beam_search.length_penalty",
            "parameters.structured_output.regex",
        ],
    ),
    "more than there are rows": (
        GenerateRequest(
            prompt="a",
            parameters=GenerationParameters(candidate_count=9),
            delivered=[DeliveredTokens(candidate_index=9), DeliveredTokens(), DeliveredTokens()],
        ),
        ["parameters.candidate_count", "delivered[0].candidate_index", "delivered[2].candidate_index"],
    ),
    "more beams than there are rows": (
        GenerateRequest(
            prompt="a",
            parameters=GenerationParameters(beam_search=BeamSearchParameters(beam_count=9), candidate_count=10),
        ),
        ["parameters.candidate_count", "parameters.beam_search.beam_count"],
    ),
    "unknown enum number": (
        GenerateRequest(chat=ChatPrompt(messages=[ChatMessage(role=77, content="Hi")])),  # type: ignore[arg-type]
        ["chat.messages[0].role"],
    ),
    "empty turn": (
        GenerateRequest(chat=ChatPrompt(messages=[ChatMessage(role=ROLE_USER)])),
        ["chat.messages[0].content"],
    ),
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(checkpoints: Checkpoints) -> AsyncIterator[RunningStack]:
    async with running_stack(checkpoints("llama"), max_sequences=8) as running:
        yield running


async def refusal(call: Any) -> SensoriumError:
    with pytest.raises(SensoriumError) as caught:
        await call
    return caught.value


async def garbage(stack: RunningStack, data: bytes, method: str = "Generate") -> grpc.aio.AioRpcError:
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.gateway.server.port}", options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/sensorium.v1.TextService/{method}")(data)
    return caught.value


async def beside_neighbours(stack: RunningStack, check: Callable[[AsyncClient], Any], folder: Any) -> None:
    """Runs `check` while streams are running, then requires that those came to their right ends."""
    streams = [
        asyncio.create_task(
            read(stack.client, request(prompt, temperature=0, max_new_tokens=NEIGHBOUR_TOKENS, ignore_eos=True))
        )
        for prompt in NEIGHBOURS
    ]
    running = "sensorium_engine_requests_running"  # or ended already, where this loop was held up
    await until(lambda: stack.text.metric(running) + sum(one.done() for one in streams) >= len(NEIGHBOURS))
    await check(stack.client)
    for prompt, stream in zip(NEIGHBOURS, await asyncio.gather(*streams), strict=True):
        wanted = greedy(folder, prompt, NEIGHBOUR_TOKENS)
        # `generate` stops at the end of sequence; the neighbour was told to go on.
        assert stream.token_ids[: len(wanted)] == wanted
        assert len(stream.token_ids) == NEIGHBOUR_TOKENS
        assert stream.events[-1] == "completed"


@pytest.mark.parametrize("case", REFUSED)
async def test_every_violation_is_named(case: str, stack: RunningStack, checkpoints: Checkpoints) -> None:
    asked, fields = REFUSED[case]

    async def check(client: AsyncClient) -> None:
        error = await refusal(client.text.generate(asked))
        assert isinstance(error, InvalidArgument)
        assert sorted(violation.field for violation in error.violations) == sorted(fields)
        assert all(violation.description for violation in error.violations)
        assert error.request_id

    folder = checkpoints("llama")
    await beside_neighbours(stack, check, folder)


async def test_garbage_and_giant_messages_are_refused(stack: RunningStack, checkpoints: Checkpoints) -> None:
    folder = checkpoints("llama")

    async def check(_: AsyncClient) -> None:
        for data in (b"\xff\xff\xff", b"\x0a\x05ab", b"\x12\x02\xff\xfe"):
            assert (await garbage(stack, data)).code() is grpc.StatusCode.INVALID_ARGUMENT
        giant = GenerateRequest(prompt="x" * (40 << 20)).SerializeToString()
        assert (await garbage(stack, giant)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    await beside_neighbours(stack, check, folder)


async def test_a_giant_message_is_a_typed_error_at_the_client(stack: RunningStack) -> None:
    error = await refusal(stack.client.text.generate(GenerateRequest(prompt="x" * (40 << 20))))
    assert isinstance(error, ResourceExhausted)


async def test_what_is_not_served_says_so(stack: RunningStack) -> None:
    text, vision = stack.client.text, stack.client.vision
    error = await refusal(text.generate(GenerateRequest(model="nobody", prompt="a")))
    assert isinstance(error, ModelNotServed)
    assert error.metadata["servedModels"] == "llama"
    assert isinstance(await refusal(text.embed(EmbedRequest(texts=["a"]))), TaskNotSupported)
    assert isinstance(await refusal(text.embed(EmbedRequest(model="llama", texts=["a"]))), TaskNotSupported)
    assert isinstance(await refusal(vision.embed_image(EmbedImageRequest())), TaskNotSupported)


async def test_the_service_itself_answers_like_the_gateway(checkpoints: Checkpoints) -> None:
    async with running_stack(checkpoints("llama")) as stack, AsyncClient(stack.text.address) as direct:
        assert isinstance(await refusal(direct.text.embed(EmbedRequest(texts=["a"]))), TaskNotSupported)
        assert isinstance(await refusal(direct.text.generate(GenerateRequest(model="x", prompt="a"))), ModelNotServed)
        asked = GenerateRequest(prompt="Streams", parameters=GenerationParameters(temperature=0, max_new_tokens=8))
        here, there = await direct.text.generate(asked), await stack.client.text.generate(asked)
        assert here.candidates == there.candidates
        assert here.candidates[0].text == tokenizer().decode(here.candidates[0].token_ids, skip_special_tokens=True)
