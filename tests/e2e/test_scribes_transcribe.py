"""Transcribe by encoder-decoders that hear windows of any length, against transformers' own `generate`."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from services.speech.live.voice_network import VoiceNetwork
from services.speech.recording_cuts import RecordingCuts
from tests.e2e.live_audio import AUDIO, events_of, finals, requests
from tests.e2e.stack import speech_stack
from tests.sounds import RATE, Samples, media, sound
from tests.tiny_scribes import write_scribe

SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((1.5, 0.4, 2.0, 1.0, 1.5))]


class Reference:
    """The model by hand."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval()
        self.extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def text(self, samples: Samples, **more: Any) -> str:
        inputs = self.extractor(samples, sampling_rate=RATE, return_tensors="pt")
        inputs = {name: value for name, value in inputs.items() if name != "audio_chunk_index"}
        tokens = self.model.generate(**inputs, **more)[0]
        given = more["decoder_input_ids"].shape[1] if "decoder_input_ids" in more else 1
        return self.tokenizer.decode(tokens[given:], skip_special_tokens=True).strip()


@pytest.mark.parametrize("kind", ["moonshine"])
async def test_texts_are_the_models_own_in_company(tmp_path: Path, kind: str) -> None:
    reference = Reference(write_scribe(tmp_path, kind))
    wanted = [reference.text(each) for each in SOUNDS]
    assert len(set(wanted)) == len(SOUNDS)
    async with speech_stack(tmp_path) as stack:
        asked = [pb.TranscribeRequest(audio=media(each)) for each in SOUNDS]
        answers = await asyncio.gather(*map(stack.client.speech.transcribe, asked))
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
    assert list(info.tasks) == [models.TASK_TRANSCRIBE, models.TASK_STREAM_TRANSCRIBE]
    assert [answer.transcripts[0].text for answer in answers] == wanted
    for samples, answer in zip(SOUNDS, answers, strict=True):
        (segment,) = answer.transcripts[0].segments
        assert (segment.start.ToNanoseconds(), segment.end.ToNanoseconds()) == (0, round(len(samples) / RATE * 1e9))
        assert 0 < segment.confidence <= 1
        assert answer.usage.output_token_count > 0


async def test_long_recordings_are_cut_where_nobody_speaks(tmp_path: Path) -> None:
    reference = Reference(write_scribe(tmp_path, "moonshine"))
    samples, cuts = sound(7.3, 7), RecordingCuts(VoiceNetwork.load(), RATE, 2)
    ends = [0]
    while ends[-1] < len(samples):
        ends.append(cuts.next(samples, ends[-1]))
    wanted = [reference.text(samples[begin:end]) for begin, end in pairwise(ends)]
    async with speech_stack(tmp_path, window_seconds=2) as stack:
        answer = await stack.client.speech.transcribe(pb.TranscribeRequest(audio=media(samples)))
    (transcript,) = answer.transcripts
    assert transcript.text == " ".join(wanted)
    assert [segment.text for segment in transcript.segments] == wanted


async def test_live_audio_is_read_as_a_recording_is(tmp_path: Path) -> None:
    write_scribe(tmp_path, "moonshine")
    async with speech_stack(tmp_path) as stack:
        results = finals(await events_of(stack.client, requests(AUDIO, language="en")))
    assert len(results) == 2
    assert all(result.text and result.language == "en" for result in results)


async def test_what_does_not_apply_is_refused_all_at_once(tmp_path: Path) -> None:
    write_scribe(tmp_path, "moonshine")
    async with speech_stack(tmp_path) as stack:
        with pytest.raises(InvalidArgument) as caught:
            wrong = pb.TranscribeRequest(
                audio=media(SOUNDS[0]), target_language="de", prompt="Hi", hotwords=["x"], word_times=True,
                parameters=common.GenerationParameters(stop_strings=["x"]),
            )  # fmt: skip
            await stack.client.speech.transcribe(wrong)
        with pytest.raises(InvalidArgument, match=r"audio: is 0\.005 s long"):
            await stack.client.speech.transcribe(pb.TranscribeRequest(audio=media(SOUNDS[0][:80])))
        several = pb.TranscribeRequest(
            audio=media(SOUNDS[0]), transcript_count=2, parameters=common.GenerationParameters(temperature=1)
        )
        assert len((await stack.client.speech.transcribe(several)).transcripts) == 2
    fields = [each.field for each in caught.value.violations]
    assert fields == ["parameters.stop_strings", "word_times", "target_language", "hotwords", "prompt"]
