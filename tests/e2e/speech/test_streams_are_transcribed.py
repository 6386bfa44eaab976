"""StreamTranscribe through gateway and client, against the model called by hand on each utterance."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer, GenerationConfig

from sensorium import Client, InvalidArgument
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from services.speech.live.endpointing import Endpointing
from services.speech.live.hearing import Hearing
from services.speech.live.intake import Encoding, Intake
from services.speech.live.utterance import Excerpt, Reach
from services.speech.live.voice_network import VoiceNetwork
from tests.e2e.live_audio import AUDIO, TWO, events_of, finals, requests
from tests.e2e.stack import RunningStack, speech_stack
from tests.sounds import media
from tests.tiny import hearing_models
from tests.tiny.audio_models import write_ctc_model
from tests.tiny.listening_models import write_listening_model
from tests.vowels import RATE, Samples
from tests.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=["wav2vec2", "parakeet"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ctc_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ctc_model(tmp_path_factory.mktemp("one"), "wav2vec2")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(one_folder: Path) -> AsyncIterator[RunningStack]:
    async with speech_stack(one_folder) as running:
        yield running


def told(events: list[pb.StreamTranscribeResponse]) -> list[Any]:
    """Returns the fields that rounding in another batch does not change."""
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
    # SentencePiece may write two spaces; words of live results are joined with one.
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
    """With and without word times, an utterance's transcript equals that of the same audio as a recording."""
    folder = write_listening_model(tmp_path, aligned=aligned, seed=2)
    async with speech_stack(folder) as stack:
        whole = [pb.TranscribeRequest(audio=media(each.samples), language="en") for each in utterances()]
        expected = [(await stack.client.speech.transcribe(request)).transcripts[0].text for request in whole]
        results = finals(await events_of(stack.client, requests(AUDIO, language="en", word_times=aligned)))
        assert [result.text for result in results] == expected
        assert all(result.language == "en" and bool(result.words) == aligned for result in results)
        interim = await events_of(stack.client, requests(AUDIO, language="en", interim_results=True), pace=6)
        assert len(finals(interim)) == 2
        if not aligned:
            with pytest.raises(InvalidArgument, match=r"config\.word_times"):
                await events_of(stack.client, requests(AUDIO, word_times=True))


async def test_models_that_are_asked_in_a_prompt_hear_too(tmp_path: Path) -> None:
    folder = hearing_models.write_checkpoint(tmp_path, "audioflamingo3", seed=2)
    own = GenerationConfig.from_pretrained(folder)
    own.max_new_tokens = 12
    own.save_pretrained(folder)
    async with speech_stack(folder) as stack:
        whole = [pb.TranscribeRequest(audio=media(each.samples)) for each in utterances()]
        expected = [(await stack.client.speech.transcribe(request)).transcripts[0].text for request in whole]
        results = finals(await events_of(stack.client, requests(AUDIO)))
        assert [result.text for result in results] == expected
        assert all(expected)
        events = await events_of(stack.client, requests(AUDIO, interim_results=True), pace=6)
        assert [result.text for result in finals(events)] == expected
        with pytest.raises(InvalidArgument, match=r"config\.prompt: does not apply: the model takes none"):
            await events_of(stack.client, requests(AUDIO, prompt="Hi."))


async def test_results_depend_neither_on_pieces_nor_on_company(stack: RunningStack) -> None:
    draws = np.random.default_rng(0)
    alone = told(await events_of(stack.client, requests(AUDIO)))
    assert len(alone) == 2
    streams = [requests(AUDIO, draws.integers(1, 20_000, 40)) for _ in range(6)]
    for events in await asyncio.gather(*(events_of(stack.client, stream) for stream in streams)):
        assert told(events) == alone


async def test_interim_results_never_take_back_what_is_stable(stack: RunningStack) -> None:
    events: list[pb.StreamTranscribeResponse] = []
    for pace in (4, 1, 0.5):  # a machine that stops meanwhile leaves out interim results, which are due by time
        events = await events_of(stack.client, requests(AUDIO, interim_results=True), pace=pace)
        if len(events) > 8:
            break
    stable = ["", ""]
    for result in (event.result for event in events if event.HasField("result")):
        assert result.text.startswith(stable[result.utterance_index])
        assert len(stable[result.utterance_index]) <= result.stable_character_count <= len(result.text)
        assert not result.final or result.stable_character_count == len(result.text)
        stable[result.utterance_index] = result.text[: result.stable_character_count]
    assert len(events) > 8
    assert len(finals(events)) == 2


async def test_a_plain_client_hears_the_same(stack: RunningStack) -> None:
    def blocking(address: str) -> list[pb.StreamTranscribeResponse]:
        with Client(address, timeout=PATIENCE) as client:
            return list(client.speech.stream_transcribe(requests(AUDIO)))

    there = f"127.0.0.1:{stack.gateway.server.port}"
    events = await asyncio.to_thread(blocking, there)
    assert told(events) == told(await events_of(stack.client, requests(AUDIO)))
