"""Transcribe by encoder-decoders that read windows of any length, against transformers' own `generate`."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from services.speech.live.voice_network import VoiceNetwork
from services.speech.transcription.recording_cuts import RecordingCuts
from tests.e2e.live_audio import AUDIO, events_of, finals, requests
from tests.e2e.stack import speech_stack
from tests.sounds import RATE, Samples, media, sound
from tests.tiny.audio_models import PIECES
from tests.tiny.scribes import write_scribe

SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((1.5, 0.4, 2.0, 1.0))]


class Reference:
    """The model, called by hand."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval()
        self.extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.streams = self.model.config.model_type == "moonshine_streaming"

    @torch.inference_mode()
    def text(self, samples: Samples, **more: Any) -> str:
        whole = {"padding": True, "pad_to_multiple_of": 80} if self.streams else {}
        inputs = self.extractor(samples, sampling_rate=RATE, return_tensors="pt", **whole)
        inputs = {name: value for name, value in inputs.items() if name != "audio_chunk_index"}
        tokens = self.model.generate(**inputs, **more)[0].tolist()
        prompt = more["decoder_input_ids"][0].tolist() if "decoder_input_ids" in more else []
        # `generate` may put tokens before the prompt.
        first = next(i for i in range(len(tokens)) if tokens[i : i + len(prompt)] == prompt) + len(prompt)
        return self.tokenizer.decode(tokens[first:], skip_special_tokens=True).strip()


def given(folder: Path, kind: str) -> dict[str, Any]:
    """Returns the decoder's first tokens for German, from the library's own processor if it makes them."""
    if kind == "cohere_asr":
        inputs = AutoProcessor.from_pretrained(folder)(SOUNDS[0], language="de", sampling_rate=RATE)
        return {"decoder_input_ids": inputs["decoder_input_ids"]}
    if kind == "canary":
        inputs = AutoProcessor.from_pretrained(folder).apply_transcription_request([SOUNDS[0]], source_language="de")
        return {"decoder_input_ids": inputs["decoder_input_ids"]}
    return {"tgt_lang": "deu"} if kind.startswith("seamless") else {}


_LATER = pytest.mark.skipif(
    "canary" not in CONFIG_MAPPING, reason="5.17 knows no Canary, and makes Cohere's features by librosa"
)


@pytest.mark.parametrize(
    "kind",
    [
        "moonshine",
        "moonshine_streaming",
        "speech_to_text",
        "speecht5",
        pytest.param("cohere_asr", marks=_LATER),
        pytest.param("canary", marks=_LATER),
        "seamless_m4t",
        "seamless_m4t_v2",
    ],
)
async def test_texts_are_the_models_own_in_company(tmp_path: Path, kind: str) -> None:
    reference = Reference(write_scribe(tmp_path, kind))
    more = given(tmp_path, kind)
    wanted = [reference.text(each, **more) for each in SOUNDS]
    assert len(set(wanted)) == len(SOUNDS)
    async with speech_stack(tmp_path, window_seconds=4) as stack:
        asked = [pb.TranscribeRequest(audio=media(each), language="de" if more else "") for each in SOUNDS]
        answers = await asyncio.gather(*map(stack.client.speech.transcribe, asked))
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
    assert list(info.tasks) == [models.TASK_TRANSCRIBE, models.TASK_STREAM_TRANSCRIBE]
    assert [answer.transcripts[0].text for answer in answers] == wanted
    for samples, answer in zip(SOUNDS, answers, strict=True):
        (segment,) = answer.transcripts[0].segments
        assert (segment.start.ToNanoseconds(), segment.end.ToNanoseconds()) == (0, round(len(samples) / RATE * 1e9))
        assert 0 < segment.confidence <= 1
        assert answer.usage.output_token_count > 0


@_LATER
async def test_languages_are_told_and_translated_into(tmp_path: Path) -> None:
    reference = Reference(write_scribe(tmp_path, "canary"))
    ask: Any = AutoProcessor.from_pretrained(tmp_path)
    inputs = ask.apply_transcription_request([SOUNDS[2]], source_language="de", target_language="en")
    wanted = reference.text(SOUNDS[2], decoder_input_ids=inputs["decoder_input_ids"])
    async with speech_stack(tmp_path, window_seconds=4) as stack:
        asked = pb.TranscribeRequest(audio=media(SOUNDS[2]), language="de-AT", target_language="en")
        answer = await stack.client.speech.transcribe(asked)
        with pytest.raises(InvalidArgument, match="language: must be given"):
            await stack.client.speech.transcribe(pb.TranscribeRequest(audio=media(SOUNDS[2])))
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
    assert answer.transcripts[0].text == wanted != reference.text(SOUNDS[2], **given(tmp_path, "canary"))
    assert list(info.languages) == ["de", "en"]


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


async def test_silence_is_nothing_and_harms_nobody(tmp_path: Path) -> None:
    """Speech2Text's extractor divides by the features' standard deviation, which is 0 for silence."""
    write_scribe(tmp_path, "speech_to_text")
    silent = pb.TranscribeRequest(audio=media(np.zeros(RATE, np.float32)))
    async with speech_stack(tmp_path, window_seconds=4) as stack:
        answer = await stack.client.speech.transcribe(silent)
        phases = [
            stack.service.metric("sensorium_engine_model_load_seconds", phase=each) for each in ("load", "warm_up")
        ]
        assert all(phases)
    assert answer.usage.output_token_count > 0


async def test_the_least_length_counts_the_opening(tmp_path: Path) -> None:
    """All pieces of text end an output here, so that it ends as soon as it may."""
    write_scribe(tmp_path, "seamless_m4t_v2")
    own = GenerationConfig.from_pretrained(tmp_path)
    own.min_length, own.eos_token_id = 9, [2, *range(4, 4 + len(PIECES))]
    own.save_pretrained(tmp_path)
    reference = Reference(tmp_path)
    inputs = [reference.extractor(each, sampling_rate=RATE, return_tensors="pt") for each in SOUNDS]
    opening = 2
    wanted = [len(reference.model.generate(**each, tgt_lang="deu")[0]) - opening for each in inputs]
    assert own.min_length - opening + 1 in wanted
    async with speech_stack(tmp_path, window_seconds=4) as stack:
        asked = [pb.TranscribeRequest(audio=media(each), language="de") for each in SOUNDS]
        answers = await asyncio.gather(*map(stack.client.speech.transcribe, asked))
    assert [answer.usage.output_token_count for answer in answers] == wanted
    assert {answer.transcripts[0].finish_reason for answer in answers} == {common.FINISH_REASON_END_OF_SEQUENCE}


async def test_live_audio_is_read_as_a_recording_is(tmp_path: Path) -> None:
    write_scribe(tmp_path, "moonshine")
    async with speech_stack(tmp_path, window_seconds=4) as stack:
        results = finals(await events_of(stack.client, requests(AUDIO)))
        with pytest.raises(InvalidArgument, match=r"config\.language: must be empty"):
            await events_of(stack.client, requests(AUDIO, language="en"))
    assert len(results) == 2
    assert all(result.text and not result.language and result.finish_reason for result in results)


async def test_what_does_not_apply_is_refused_all_at_once(tmp_path: Path) -> None:
    write_scribe(tmp_path, "moonshine")
    async with speech_stack(tmp_path, window_seconds=4) as stack:
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


async def test_readings_are_as_many_as_are_asked_for(tmp_path: Path) -> None:
    """A default of several candidates in the model's files applies only to plain `generate` calls, not here."""
    write_scribe(tmp_path, "moonshine")
    own = GenerationConfig.from_pretrained(tmp_path)
    own.num_beams = own.num_return_sequences = 2
    own.save_pretrained(tmp_path)
    async with speech_stack(tmp_path, window_seconds=4) as stack:
        answer = await stack.client.speech.transcribe(pb.TranscribeRequest(audio=media(SOUNDS[0])))
        assert len(answer.transcripts) == 1
        with pytest.raises(InvalidArgument, match=r"^[^.]*transcript_count: must be at most 2, the number of beams$"):
            beams = common.GenerationParameters(beam_search=common.BeamSearchParameters(beam_count=2))
            await stack.client.speech.transcribe(
                pb.TranscribeRequest(audio=media(SOUNDS[0]), transcript_count=3, parameters=beams)
            )
