"""StreamTranscribe through gateway and client, against the model by hand on what each utterance is."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer

from sensorium import AsyncClient, Client, DeadlineExceeded, InvalidArgument, SensoriumError
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from services.speech.live.endpointing import Endpointing
from services.speech.live.hearing import Hearing
from services.speech.live.intake import Encoding, Intake
from services.speech.live.utterance import Excerpt, Reach
from services.speech.live.voice_network import VoiceNetwork
from tests.e2e.stack import RunningStack, speech_stack
from tests.sounds import media
from tests.tiny_audio_models import write_ctc_model
from tests.tiny_listening_models import write_listening_model
from tests.vowels import RATE, Samples, linear16, said
from tests.waiting import until

TWO = said(0.4, "aeiou oia ue", 0.9, "uoi aeo", 0.8)
AUDIO = linear16(TWO)


@pytest.fixture(scope="module", params=["wav2vec2", "parakeet"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ctc_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ctc_model(tmp_path_factory.mktemp("one"), "wav2vec2")


def config(**options: Any) -> pb.StreamTranscribeRequest:
    return pb.StreamTranscribeRequest(config=pb.StreamTranscribeConfig(sample_rate_hertz=RATE, **options))


def requests(audio: bytes, sizes: Any = (3200,), **options: Any) -> Iterator[pb.StreamTranscribeRequest]:
    yield config(**options)
    begin = i = 0
    while begin < len(audio):
        size = int(sizes[i % len(sizes)])
        yield pb.StreamTranscribeRequest(audio=audio[begin : begin + size])
        begin, i = begin + size, i + 1


async def sent(
    messages: Iterator[pb.StreamTranscribeRequest], pace: float = 0.0
) -> AsyncIterator[pb.StreamTranscribeRequest]:
    for message in messages:
        yield message
        await asyncio.sleep(len(message.audio) / 2 / RATE / pace if pace else 0)


async def events_of(client: AsyncClient, *messages: Any, pace: float = 0.0) -> list[pb.StreamTranscribeResponse]:
    return [event async for event in client.speech.stream_transcribe(sent(*messages, pace=pace))]


def finals(events: list[pb.StreamTranscribeResponse]) -> list[pb.TranscriptionResult]:
    return [event.result for event in events if event.result.final]


def told(events: list[pb.StreamTranscribeResponse]) -> list[Any]:
    """Returns what does not differ by a rounding in another batch."""
    return [(result.text, result.start.ToNanoseconds(), result.end.ToNanoseconds()) for result in finals(events)]


def utterances(context: int = 0) -> list[Excerpt]:
    reach = Reach(30 * RATE, context)
    hearing = Hearing(Intake(Encoding.LINEAR16, RATE, 1, RATE), VoiceNetwork.load(), Endpointing(), RATE, reach)
    turns = [turn for found in hearing.push(AUDIO) for turn in found] + hearing.end()
    return [turn.utterance.excerpt() for turn in turns if not turn.began]


@torch.inference_mode()
def by_hand(folder: Path, samples: Samples) -> str:
    extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    inputs = extractor(samples, sampling_rate=RATE, return_tensors="pt")
    model: Any = AutoModelForCTC.from_pretrained(folder).eval()
    if "attention_mask" in inputs and hasattr(model, "generate"):
        return tokenizer.decode(model.generate(**inputs)[0]).strip()
    return tokenizer.decode(model(**inputs).logits[0].argmax(-1)).strip()


async def test_utterances_are_read_as_the_model_reads_them(folder: Path) -> None:
    async with speech_stack(folder, context_seconds=0) as stack:
        wanted = requests(AUDIO, word_times=True, speech_events=True)
        events = await events_of(stack.client, wanted)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
    assert models.TASK_STREAM_TRANSCRIBE in info.tasks
    assert events[0].started.model == info.identity
    results = finals(events)
    # A tokenizer of pieces may write two spaces; words are told with one between them.
    expected = [" ".join(by_hand(folder, each.samples).split()) for each in utterances()]
    assert [result.text for result in results] == expected
    assert all(result.text for result in results)
    for result in results:
        assert " ".join(word.text for word in result.words) == result.text
        assert result.stable_character_count == len(result.text)
        assert result.start.ToNanoseconds() <= result.words[0].start.ToNanoseconds()
        assert result.end == result.words[-1].end
    kinds = [event.speech_event.kind for event in events if event.HasField("speech_event")]
    assert kinds == [pb.SpeechEvent.KIND_SPEECH_STARTED, pb.SpeechEvent.KIND_SPEECH_ENDED] * 2
    completed = events[-1].completed
    assert completed.usage.audio_duration.ToMilliseconds() == len(TWO) * 1000 // RATE
    assert 0 < completed.timing.compute.ToNanoseconds() <= completed.timing.total.ToNanoseconds()
    assert completed.timing.time_to_first_output.ToNanoseconds() > 0


async def test_an_utterance_is_read_with_what_was_before_it(folder: Path) -> None:
    async with speech_stack(folder, context_seconds=1.5) as stack:
        results = finals(await events_of(stack.client, requests(AUDIO)))
        for result, excerpt in zip(results, utterances(round(1.5 * RATE)), strict=True):
            request = pb.TranscribeRequest(audio=media(excerpt.samples), word_times=True)
            (transcript,) = (await stack.client.speech.transcribe(request)).transcripts
            words = [word for segment in transcript.segments for word in segment.words]
            begin = 2 * excerpt.context / RATE * 1e9
            own = [w.text for w in words if w.start.ToNanoseconds() + w.end.ToNanoseconds() >= begin]
            assert result.text == " ".join(own)
            assert 0 < excerpt.context <= 1.5 * RATE


@pytest.mark.parametrize("aligned", [True, False])
async def test_models_that_write_token_by_token_hear_too(tmp_path: Path, aligned: bool) -> None:
    """With word times and without: what they write of an utterance is what they write of it as a recording."""
    folder = write_listening_model(tmp_path, aligned=aligned, seed=2)
    async with speech_stack(folder) as stack:
        whole = [pb.TranscribeRequest(audio=media(each.samples), language="en") for each in utterances()]
        expected = [(await stack.client.speech.transcribe(request)).transcripts[0].text for request in whole]
        results = finals(await events_of(stack.client, requests(AUDIO, language="en", word_times=aligned)))
        assert [result.text for result in results] == expected
        assert all(result.language == "en" and bool(result.words) == aligned for result in results)
        interim = await events_of(stack.client, requests(AUDIO, language="en", interim_results=True), pace=3)
        assert len(finals(interim)) == 2
        if not aligned:
            with pytest.raises(InvalidArgument, match=r"config\.word_times"):
                await events_of(stack.client, requests(AUDIO, word_times=True))


async def test_results_depend_neither_on_pieces_nor_on_company(one_folder: Path) -> None:
    draws = np.random.default_rng(0)
    async with speech_stack(one_folder) as stack:
        alone = told(await events_of(stack.client, requests(AUDIO)))
        assert len(alone) == 2
        streams = [requests(AUDIO, draws.integers(1, 20_000, 40)) for _ in range(20)]
        for events in await asyncio.gather(*(events_of(stack.client, stream) for stream in streams)):
            assert told(events) == alone


async def test_interim_results_never_take_back_what_is_stable(one_folder: Path) -> None:
    async with speech_stack(one_folder) as stack:
        events = await events_of(stack.client, requests(AUDIO, interim_results=True), pace=4)
    stable = ["", ""]
    for result in (event.result for event in events if event.HasField("result")):
        assert result.text.startswith(stable[result.utterance_index])
        assert len(stable[result.utterance_index]) <= result.stable_character_count <= len(result.text)
        assert not result.final or result.stable_character_count == len(result.text)
        stable[result.utterance_index] = result.text[: result.stable_character_count]
    assert len(events) > 8
    assert len(finals(events)) == 2


async def test_a_plain_client_hears_the_same(one_folder: Path) -> None:
    def blocking(address: str) -> list[pb.StreamTranscribeResponse]:
        with Client(address, timeout=60) as client:
            return list(client.speech.stream_transcribe(requests(AUDIO)))

    async with speech_stack(one_folder) as stack:
        there = f"127.0.0.1:{stack.gateway.server.port}"
        events = await asyncio.to_thread(blocking, there)
        assert told(events) == told(await events_of(stack.client, requests(AUDIO)))


async def test_one_utterance_completes_a_stream_that_goes_on(one_folder: Path) -> None:
    def endless() -> Iterator[pb.StreamTranscribeRequest]:
        yield from requests(AUDIO, single_utterance=True)
        while True:
            yield pb.StreamTranscribeRequest(audio=bytes(3200))

    async with speech_stack(one_folder) as stack:
        for _ in range(3):
            events = await events_of(stack.client, endless())
            assert len(finals(events)) == 1
            assert events[-1].HasField("completed")


ODD = AUDIO + b"x"
NAN = np.full(1000, np.nan, "<f4").tobytes()
WRONG: dict[str, tuple[list[pb.StreamTranscribeRequest], set[str]]] = {
    "audio first": ([pb.StreamTranscribeRequest(audio=AUDIO)], {"config"}),
    "two configs": ([config(), config()], {"config"}),
    "an empty message": ([config(), pb.StreamTranscribeRequest()], {"audio"}),
    "half a sample": (list(requests(ODD)), {"audio"}),
    "no number": (list(requests(NAN, encoding=pb.AUDIO_ENCODING_FLOAT32)), {"audio"}),
    "wrong in many ways": (
        [
            config(
                encoding=pb.AUDIO_ENCODING_MP3,
                channel_count=0,
                prompt="Hello",
                language="no tag at all",
                endpointing={"speech_threshold": 2, "min_silence_duration": {"seconds": -1}},
            )
        ],
        {
            "config.encoding",
            "config.channel_count",
            "config.prompt",
            "config.language",
            "config.endpointing.speech_threshold",
            "config.endpointing.min_silence_duration",
        },
    ),
}


async def test_what_is_wrong_is_refused_and_harms_no_neighbour(one_folder: Path) -> None:
    async with speech_stack(one_folder) as stack:
        neighbour = asyncio.create_task(events_of(stack.client, requests(AUDIO, interim_results=True), pace=4))
        for case, (messages, fields) in WRONG.items():
            with pytest.raises(InvalidArgument) as refused:
                await events_of(stack.client, iter(messages))
            assert {violation.field for violation in refused.value.violations} == fields, case
        with pytest.raises(InvalidArgument):
            await events_of(stack.client, iter([]))
        assert len(finals(await neighbour)) == 2
        await closed(stack)


async def closed(stack: RunningStack) -> None:
    await until(lambda: stack.service.metric("sensorium_engine_live_streams") == 0)
    await until(lambda: stack.service.metric("sensorium_engine_requests_waiting") == 0)


async def ended(stack: RunningStack, messages: AsyncIterator[Any], **options: Any) -> type[SensoriumError]:
    with pytest.raises(SensoriumError) as error:
        _ = [event async for event in stack.client.speech.stream_transcribe(messages, **options)]
    return type(error.value)


async def test_whoever_leaves_or_falls_silent_leaves_nothing_behind(one_folder: Path) -> None:
    async def falls_silent() -> AsyncIterator[pb.StreamTranscribeRequest]:
        async for message in sent(requests(AUDIO[:40_000], interim_results=True)):
            yield message
        await asyncio.Event().wait()

    async with speech_stack(one_folder, silent_client_seconds=0.5) as stack:
        assert await ended(stack, falls_silent()) is DeadlineExceeded
        await closed(stack)
        assert await ended(stack, sent(requests(AUDIO * 9), pace=1), timeout=0.7) is DeadlineExceeded
        await closed(stack)
        async with stack.client.speech.stream_transcribe(sent(requests(AUDIO * 9), pace=2)) as stream:
            async for event in stream:
                if event.HasField("result"):
                    break
        await closed(stack)
        assert len(finals(await events_of(stack.client, requests(AUDIO)))) == 2


async def test_a_client_that_does_not_read_is_ended(one_folder: Path) -> None:
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    speech = [message.SerializeToString() for message in requests(AUDIO * 60, [64_000], word_times=True)]
    async with (
        speech_stack(one_folder, stalled_client_seconds=1, unfinished_seconds=20) as stack,
        grpc.aio.insecure_channel(stack.service.address, options=options) as channel,
    ):
        call = channel.stream_stream("/sensorium.v1.SpeechService/StreamTranscribe")(iter(speech))
        await call.read()
        await until(lambda: stack.service.metric("sensorium_engine_requests_total", finish_reason="completed") > 9)
        assert len(finals(await events_of(stack.client, requests(AUDIO)))) == 2
        await closed(stack)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            while await call.read() is not grpc.aio.EOF:
                pass
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_sender_who_is_ahead_waits(one_folder: Path) -> None:
    """Minutes of speech at once: what lies in the service is bounded, and all of it is heard in the end."""
    read = 0

    async def long() -> AsyncIterator[pb.StreamTranscribeRequest]:
        nonlocal read
        yield config()
        for _ in range(15):
            yield pb.StreamTranscribeRequest(audio=AUDIO)
            read += 1

    async with speech_stack(one_folder, unfinished_seconds=5) as stack:
        events = [event async for event in stack.client.speech.stream_transcribe(long())]
        assert len(finals(events)) == 30
        assert events[-1].completed.usage.audio_duration.ToSeconds() == 15 * len(TWO) // RATE


async def test_many_silent_streams_cost_the_model_nothing(one_folder: Path) -> None:
    async with speech_stack(one_folder) as stack:
        steps = stack.service.metric("sensorium_engine_steps_total")
        hold = asyncio.Event()

        async def silence() -> AsyncIterator[pb.StreamTranscribeRequest]:
            yield config(interim_results=True)
            for _ in range(5):
                yield pb.StreamTranscribeRequest(audio=bytes(3200))
            await hold.wait()

        streams = [asyncio.create_task(ended_well(stack, silence())) for _ in range(120)]
        await until(lambda: stack.service.metric("sensorium_engine_live_streams") == 120)
        assert len(finals(await events_of(stack.client, requests(AUDIO)))) == 2
        hold.set()
        assert await asyncio.gather(*streams) == [2] * 120
        assert stack.service.metric("sensorium_engine_steps_total") == steps + 2
        await closed(stack)


async def ended_well(stack: RunningStack, messages: AsyncIterator[Any]) -> int:
    return len([event async for event in stack.client.speech.stream_transcribe(messages)])
