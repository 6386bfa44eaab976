"""Transcribe and StreamTranscribe by streaming recognizers, against transformers' own `generate`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer, TokenizersBackend

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from tests.e2e.live_audio import AUDIO, config, events_of, finals, requests
from tests.e2e.stack import speech_stack
from tests.sounds import Samples, media, sound
from tests.tiny.followers import DELAY, LEFT, write_kyutai, write_voxtral
from tests.vowels import RATE

_WRITERS: dict[str, Callable[[Path], Path]] = {
    "kyutai": write_kyutai,
    "kyutai in windows": lambda folder: write_kyutai(folder, audio_window_size=2),
    "voxtral": write_voxtral,
}
_TOKEN = 1280
"""Samples per token of Voxtral."""


class Reference:
    """The model, called by hand."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.voxtral = kind == "voxtral"
        self.model: Any = AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval()
        self.extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
        tokenizer: Any = TokenizersBackend if self.voxtral else AutoTokenizer
        self.tokenizer: Any = tokenizer.from_pretrained(folder)
        self.rate = int(self.extractor.sampling_rate)

    @torch.inference_mode()
    def text(self, samples: Samples) -> str:
        given: dict[str, Any] = {}
        if self.voxtral:  # padding and prompt as mistral-common makes them
            behind = -len(samples) % _TOKEN + (DELAY + 11) * _TOKEN
            samples = np.pad(samples, (LEFT * _TOKEN, behind))
            given = {"input_ids": torch.tensor([[1, *[32] * (LEFT + DELAY)]]), "num_delay_tokens": DELAY}
            given["max_new_tokens"] = 1000  # the length of the audio is the limit in effect
        inputs = self.extractor(samples, sampling_rate=self.rate, return_tensors="pt")
        tokens = self.model.generate(**inputs, **given)[0]
        return self.tokenizer.decode(tokens[1 + (LEFT + DELAY) * self.voxtral :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("kind", _WRITERS)
async def test_texts_are_the_models_own_in_company(tmp_path: Path, kind: str) -> None:
    reference = Reference(_WRITERS[kind](tmp_path), kind)
    sounds = [sound(seconds, seed, rate=reference.rate) for seed, seconds in enumerate((2.0, 0.4, 3.0, 1.13))]
    wanted = [reference.text(each) for each in sounds]
    assert len(set(wanted)) == len(sounds)
    async with speech_stack(tmp_path, max_sequences=3) as stack:  # fewer rows than recordings
        asked = [pb.TranscribeRequest(audio=media(each, reference.rate)) for each in sounds]
        answers = await asyncio.gather(*map(stack.client.speech.transcribe, asked))
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
    assert [answer.transcripts[0].text for answer in answers] == wanted
    assert all(0 < answer.transcripts[0].confidence <= 1 for answer in answers)
    assert list(info.tasks) == [models.TASK_TRANSCRIBE, models.TASK_STREAM_TRANSCRIBE]
    assert (info.concurrency, info.sample_rate_hertz) == (3, reference.rate)


async def test_words_come_while_sound_is_still_sent(tmp_path: Path) -> None:
    reference = Reference(write_voxtral(tmp_path), "voxtral")
    written = asyncio.Event()
    messages = list(requests(AUDIO, interim_results=True))

    async def paused() -> AsyncIterator[pb.StreamTranscribeRequest]:
        half = len(messages) // 3  # within the first utterance
        for message in messages[:half]:
            yield message
        await written.wait()
        for message in messages[half:]:
            yield message

    events: list[pb.StreamTranscribeResponse] = []
    async with speech_stack(tmp_path) as stack:
        async for event in stack.client.speech.stream_transcribe(paused()):
            events.append(event)
            if event.result.text and not event.result.final:
                written.set()
    samples = np.frombuffer(AUDIO, "<i2").astype(np.float32) / 32768
    assert len(finals(events)) == 2
    for final in finals(events):
        begin, end = (round(each.ToNanoseconds() * RATE / 1e9) for each in (final.start, final.end))
        assert final.text == reference.text(samples[begin:end])
        before = [event.result for event in events if event.result.utterance_index == final.utterance_index]
        stable = [each.text[: each.stable_character_count] for each in before]
        assert any(stable)
        assert all(final.text.startswith(each) for each in stable)


async def test_streams_share_rows_and_one_that_breaks_off_harms_none(tmp_path: Path) -> None:
    write_kyutai(tmp_path)
    async with speech_stack(tmp_path, max_sequences=2) as stack:
        alone = finals(await events_of(stack.client, requests(AUDIO)))
        broken = stack.client.speech.stream_transcribe(_never_ending())
        async for event in broken:
            if event.HasField("result"):
                break
        streams = [events_of(stack.client, requests(AUDIO, sizes=(sizes,))) for sizes in (700, 3200, 9000)]
        answers = [finals(events) for events in await asyncio.gather(*streams)]
    texts = [result.text for result in alone]
    assert all(texts)
    assert [[result.text for result in answer] for answer in answers] == [texts] * 3


async def _never_ending() -> AsyncIterator[pb.StreamTranscribeRequest]:
    for message in requests(AUDIO[: len(AUDIO) // 3], interim_results=True):
        yield message
    await asyncio.Event().wait()


async def test_what_such_a_model_cannot_be_told_is_refused_all_at_once(tmp_path: Path) -> None:
    write_kyutai(tmp_path)
    options: dict[str, Any] = {
        "language": "en", "target_language": "de", "prompt": "Hi", "hotwords": ["x"], "word_times": True,
    }  # fmt: skip
    async with speech_stack(tmp_path) as stack:
        with pytest.raises(InvalidArgument) as caught:
            wrong = pb.TranscribeRequest(
                audio=media(sound(1)), transcript_count=2, parameters=common.GenerationParameters(), **options
            )
            await stack.client.speech.transcribe(wrong)
        with pytest.raises(InvalidArgument) as live:
            await events_of(stack.client, iter([config(**options)]))
    fields = ["parameters", "transcript_count", "language", "word_times", "target_language", "hotwords", "prompt"]
    assert [each.field for each in caught.value.violations] == fields
    assert {each.field for each in live.value.violations} == {f"config.{field}" for field in options}
