import asyncio
import gc
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import pytest

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.answer_conversion import duration
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import (
    Alternative,
    Completed,
    Delta,
    Event,
    Finish,
    FinishReason,
    GenerationTimes,
    PromptLogprobs,
    TokenLogprob,
)
from services.engine.language.responses.message import MessagePart
from services.engine.language.texts import EncodedText, EncodedToken
from services.generation.ask import Generation
from services.generation.response_conversion import logprob_bytes, stream_events, timing
from services.generation.response_conversion import started_event as started_event_of
from services.generation.response_conversion import stream_event as stream_event_of
from services.generation.response_conversion import whole_response as whole_response_of
from services.text import response_conversion
from services.text.response_conversion import add_tokens, immediate_timing
from tests.services.generation.generations import COMPLETED, TIMES, generation

IDENTITY = common.ModelIdentity(name="tiny", revision="r1")


async def whole_response(asked: Generation, identity: common.ModelIdentity) -> pb.GenerateResponse:
    return await whole_response_of(asked, identity, pb.GenerateResponse)


def stream_event(event: Event) -> pb.StreamGenerateResponse:
    return stream_event_of(event, pb.StreamGenerateResponse)


async def started_event(asked: Generation, identity: common.ModelIdentity) -> pb.StreamGenerateResponse:
    return await started_event_of(asked, identity, pb.StreamGenerateResponse)


@pytest.mark.parametrize(
    ("seconds", "whole", "nanos"),
    [
        (0.0, 0, 0),
        (1.5, 1, 500_000_000),
        (0.9999999999, 1, 0),
        (2e-9, 0, 2),
        (-1e-9, 0, 0),
        (-5.0, 0, 0),
        (86400, 86400, 0),
    ],
)
def test_seconds_become_durations_that_are_never_negative(seconds: float, whole: int, nanos: int) -> None:
    got = duration(seconds)
    assert (got.seconds, got.nanos) == (whole, nanos)


def test_every_time_is_told() -> None:
    told = timing(TIMES)
    for field, seconds in vars(TIMES).items():
        assert getattr(told, field).ToTimedelta().total_seconds() == seconds
    assert {field.name for field in common.Timing.DESCRIPTOR.fields} == set(GenerationTimes.__dataclass_fields__)


def test_what_no_model_worked_on_has_no_queue_and_no_compute() -> None:
    told = immediate_timing(0.5)
    assert (told.queue.ToNanoseconds(), told.compute.ToNanoseconds()) == (0, 0)
    assert told.preprocess == told.time_to_first_output == told.total
    assert told.HasField("queue")
    assert told.HasField("compute")


@pytest.mark.parametrize("reason", FinishReason)
def test_every_finish_has_its_number_in_the_contract(reason: FinishReason) -> None:
    event = stream_event(Completed((Finish(reason),), 1, 1, TIMES))
    (candidate,) = event.completed.candidates
    assert common.FinishReason.Name(candidate.finish.reason) == f"FINISH_REASON_{reason.name}"
    assert candidate.finish.WhichOneof("matched") is None


def test_what_matched_is_told_even_if_it_is_zero() -> None:
    zero = stream_event(Completed((Finish(FinishReason.STOP_TOKEN, token_id=0),), 1, 1, TIMES))
    assert zero.completed.candidates[0].finish.WhichOneof("matched") == "token_id"
    text = stream_event(COMPLETED).completed.candidates[0].finish
    assert (text.WhichOneof("matched"), text.stop_string) == ("stop_string", ".")


def test_a_delta_keeps_text_and_ids() -> None:
    delta = stream_event(Delta("é", (5, 6))).delta
    assert (delta.candidate_index, delta.text, list(delta.token_ids)) == (0, "é", [5, 6])


NOWHERE = Finish(FinishReason.STOP_STRING, stop_string="")
LOGPROBS = (
    TokenLogprob(5, -0.5, 1, (Alternative(5, -0.5, "a"), Alternative(0, -1.5, "<pad>"))),
    TokenLogprob(6, -4.0, 30, (Alternative(9, -0.25, " c"),)),
)


async def test_log_probabilities_stand_beside_their_ids_in_deltas_and_in_the_whole() -> None:
    first, second = Delta("a", (5,), LOGPROBS[:1]), Delta("b", (6,), LOGPROBS[1:])
    whole = (await whole_response(generation(first, second, COMPLETED), IDENTITY)).candidates[0]
    told = [*stream_event(first).delta.logprobs, *stream_event(second).delta.logprobs]
    assert list(whole.logprobs) == told
    assert [entry.token_id for entry in told] == list(whole.token_ids)
    assert [(entry.logprob, entry.rank) for entry in told] == [(-0.5, 1), (-4.0, 30)]
    assert [[(a.token_id, a.logprob, a.text) for a in entry.alternatives] for entry in told] == [
        [(5, -0.5, "a"), (0, -1.5, "<pad>")],
        [(9, -0.25, " c")],
    ]


CANDIDATES = (
    Delta("x", (5,), candidate_index=1),
    Delta("a", (6,)),
    Delta("y", (7, 8), candidate_index=1),
    Completed((Finish(FinishReason.MAX_NEW_TOKENS), Finish(FinishReason.STOP_TOKEN, token_id=8), NOWHERE), 3, 4, TIMES),
)


def test_events_tell_whose_they_are() -> None:
    first, second, _, end = (stream_event(event) for event in CANDIDATES)
    assert (first.delta.candidate_index, second.delta.candidate_index) == (1, 0)
    assert [candidate.candidate_index for candidate in end.completed.candidates] == [0, 1, 2]
    assert [candidate.finish.WhichOneof("matched") for candidate in end.completed.candidates] == [
        None, "token_id", "stop_string",
    ]  # fmt: skip


async def test_a_whole_response_holds_each_candidate_by_index() -> None:
    response = await whole_response(generation(*CANDIDATES), IDENTITY)
    assert [(one.candidate_index, one.text, list(one.token_ids)) for one in response.candidates] == [
        (0, "a", [6]), (1, "xy", [5, 7, 8]), (2, "", []),
    ]  # fmt: skip
    assert response.candidates[1].finish.token_id == 8


PROMPT = PromptLogprobs((TokenLogprob(4, None, 0, ()), *LOGPROBS))


async def test_log_probabilities_of_the_prompt_are_told_at_the_start_and_in_the_whole() -> None:
    started = (await started_event(generation(PROMPT, *CANDIDATES), IDENTITY)).started
    whole = await whole_response(generation(PROMPT, *CANDIDATES), IDENTITY)
    assert list(started.prompt_logprobs) == list(whole.prompt_logprobs)
    assert [entry.token_id for entry in started.prompt_logprobs] == [4, 5, 6]
    assert [entry.HasField("logprob") for entry in started.prompt_logprobs] == [False, True, True]
    assert [len(entry.alternatives) for entry in started.prompt_logprobs] == [0, 2, 1]


async def test_nothing_takes_more_of_a_message_than_was_reckoned() -> None:
    texts = ["x" * 300, "\N{WATER WAVE}" * 4, "abc"]
    sizes = logprob_bytes([len(text.encode()) for text in texts])
    assert len(sizes) == 4
    for count, size in enumerate(sizes):
        alternatives = tuple(Alternative(150_000 + i, -12.5, text) for i, text in enumerate(texts[:count]))
        entries = PromptLogprobs((TokenLogprob(150_000, -3.25, 150_000, alternatives),) * 40)
        whole = await whole_response(generation(entries, COMPLETED), IDENTITY)
        bare = await whole_response(generation(PromptLogprobs(()), COMPLETED), IDENTITY)
        assert 0 < whole.ByteSize() - bare.ByteSize() <= 40 * size


def test_usage_counts_input_and_output() -> None:
    usage = stream_event(COMPLETED).completed.usage
    assert (usage.input_token_count, usage.output_token_count, usage.cached_token_count) == (3, 4, 0)


async def test_the_start_tells_seed_and_prompt_only_if_asked() -> None:
    plain = (await started_event(generation(), IDENTITY)).started
    assert (plain.model, plain.prompt_token_count, plain.seed) == (IDENTITY, 3, 77)
    assert not plain.HasField("rendered_prompt")
    assert (await started_event(generation(rendered_prompt=""), IDENTITY)).started.HasField("rendered_prompt")


async def test_a_whole_response_is_the_sum_of_the_events() -> None:
    response = await whole_response(generation(rendered_prompt="p"), IDENTITY)
    (candidate,) = response.candidates
    assert (candidate.text, list(candidate.token_ids)) == ("aé", [1, 2, 3, 4])
    assert candidate.finish.stop_string == "."
    assert (response.model, response.seed, response.rendered_prompt) == (IDENTITY, 77, "p")
    assert response.usage.output_token_count == 4
    assert response.timing == timing(TIMES)


async def test_an_error_in_a_stream_is_raised_not_returned() -> None:
    with pytest.raises(ZeroDivisionError):
        await whole_response(generation(Delta("a", (1,)), ZeroDivisionError()), IDENTITY)


def test_a_token_at_the_start_has_an_offset_of_zero_and_one_without_offsets_has_none() -> None:
    response = pb.TokenizeResponse()
    assert add_tokens(response, EncodedText([0, 9], ["a", "b"], [(0, 1), (None, None)], frozenset([0]))) == 2
    at_start, nowhere = response.results[0].tokens
    assert at_start.HasField("start")
    assert (at_start.id, at_start.piece, at_start.special, at_start.start, at_start.end) == (0, "a", True, 0, 1)
    assert not nowhere.HasField("start")
    assert not nowhere.HasField("end")


def test_few_tokens_of_a_long_text_are_objects_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all tokens as Python objects at once, garbage collection would hold the GIL for most of a second."""
    alive: list[int] = []

    def counted(tokens: Iterable[EncodedToken]) -> Iterator[EncodedToken]:
        yield from tokens
        alive.append(sum(type(one) in (EncodedToken, pb.TokenizeResponse.Token) for one in gc.get_objects()))

    monkeypatch.setattr(response_conversion, "resting", counted)
    response, many = pb.TokenizeResponse(), 20_000
    add_tokens(response, EncodedText(range(many), ["a"] * many, [(i, i + 1) for i in range(many)], frozenset()))
    assert [token.id for token in response.results[0].tokens] == list(range(many))
    assert alive[0] < many / 2


async def test_what_can_be_sent_at_once_wakes_no_call() -> None:
    stream, sent = GenerationStream(), list[pb.StreamGenerateResponse]()
    context = SimpleNamespace(offer=lambda message: not sent.append(message))
    events = stream_events(Generation(stream, 3, 77, None), IDENTITY, pb.StreamGenerateResponse, context)
    assert (await anext(events)).started.seed == 77
    rest = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    for delta in (first := Delta("a", (1,)), second := Delta("b", (2,), candidate_index=1)):
        stream.deliver(delta)
    assert sent == [stream_event(first), stream_event(second)]
    stream.deliver(COMPLETED)
    assert await rest == stream_event(COMPLETED)


class Echo:
    """An answer whose text is its content."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.others = 0

    def push(self, text: str) -> MessagePart:
        assert len(text) <= 1000
        self.turns.append(self.others)
        return MessagePart(content=text)

    def close(self, _finish: Finish) -> MessagePart:
        return MessagePart(reasoning=".")

    async def count_others(self) -> None:
        while True:
            self.others += 1
            await asyncio.sleep(0)


async def test_others_have_their_turn_while_a_long_answer_is_parsed() -> None:
    """Text of which each character may begin a mark takes seconds, and outputs of whole answers come at once."""
    text = "".join(map(chr, range(ord("a"), ord("a") + 3000)))
    whole, streamed = Echo(), Echo()
    others = [asyncio.ensure_future(each.count_others()) for each in (whole, streamed)]
    response = await whole_response(generation(Delta(text, (1,)), COMPLETED, parsed=(whole,)), IDENTITY)
    expected = common.AssistantMessage(reasoning=".", content=text)
    assert response.candidates[0].message == expected
    told = generation(Delta(text, (1,)), COMPLETED, parsed=(streamed,))
    events = [event async for event in stream_events(told, IDENTITY, pb.StreamGenerateResponse, None)]
    assert events[1].delta.message.content == text
    assert events[2].completed.candidates[0].message.reasoning == "."
    for each in (whole, streamed):
        assert each.turns == sorted(set(each.turns))
    for other in others:
        other.cancel()
