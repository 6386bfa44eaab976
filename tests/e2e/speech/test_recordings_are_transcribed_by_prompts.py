"""Transcribe by prompted multimodal decoders, through gateway and client, against `generate` in float32."""

import asyncio
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, VoxtralForConditionalGeneration, VoxtralProcessor, WhisperFeatureExtractor

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from tests.drawn import drawn
from tests.e2e.speech.test_bad_audio_harms_nobody import wrong_recordings
from tests.e2e.speech.test_recordings_are_transcribed import seconds
from tests.e2e.stack import RunningStack, speech_stack
from tests.own_multimodal import MORE
from tests.sounds import RATE, Samples, media, sound
from tests.tiny import hearing_models as tiny
from tests.tiny import voxtral
from tests.tiny.multimodal_models import model_class
from tests.vowels import said
from tests.waiting import until

SOUNDS = [sound(length, seed) for seed, length in enumerate((1.3, 0.6))]
OWN_REQUESTS: dict[str, dict[str, Any]] = {
    "qwen3_asr": {"language": "en", "prompt": "Bee, Id A cad."},
    "fun_asr_nano": {"language": "en", "prompt": "A cad.", "keywords": ["Bee", "Id"]},
    "omniasr": {"language": "ko"},
    "glmasr": {},
    "audioflamingo3": {},
    "moss_transcribe_diarize": {"keywords": ["Bee", "Id"]},
    "vibevoice_asr": {"prompt": "Bee, Id A cad."},
}
"""Options that their processors take beside a recording."""
HINTS = {"prompt": "A cad.", "hotwords": ["Bee", "Id"]}
TOKENS = 12


class Reference:
    """The library's own processor and `generate`, called by hand."""

    def __init__(self, folder: Path, name: str) -> None:
        kind = model_class(AutoConfig.from_pretrained(folder))
        self.model: Any = kind.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = tiny.processor(name)
        self.more = MORE.get(name, {})

    def text(self, samples: Samples, **wish: Any) -> str:
        """Returns the answer to the request as the processor writes it."""
        if self.more:  # VibeVoice-ASR's processor takes 24 kHz for granted
            wish["sampling_rate"] = RATE
        return self.answer(self.processor.apply_transcription_request(samples, return_tensors="pt", **wish))

    def asked(self, samples: Samples, asked: str) -> str:
        """Returns the answer to an instruction in words."""
        text = f"<|user|><|audio|>{asked}<end><|assistant|>"
        return self.answer(self.processor(text=text, audio=[samples], return_tensors="pt"))

    @torch.inference_mode()
    def answer(self, inputs: Any) -> str:
        made = self.model.generate(**inputs, **self.more, max_new_tokens=TOKENS, do_sample=False)
        return self.processor.tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


class OwnVoxtral:
    """Voxtral's own model on tokens written by mistral-common 1.13 and features of its processor."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = VoxtralForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.feature_extractor = WhisperFeatureExtractor.from_pretrained(folder)

    @torch.inference_mode()
    def tokens(self, samples: Samples, language: str = "") -> list[int]:
        special, told = voxtral.SPECIAL.index, f"lang:{language}" if language else ""
        ids = [1, special("[INST]"), special("[BEGIN_AUDIO]"), *[special("[AUDIO]")] * 375, special("[/INST]")]
        ids += [*(len(voxtral.SPECIAL) + byte for byte in told.encode()), special("[TRANSCRIBE]")]
        padded = {"padding": True, "truncation": False, "pad_to_multiple_of": 480_000, "return_tensors": "pt"}
        own: Any = VoxtralProcessor._retrieve_input_features
        features = own(self, [samples], 3000, sampling_rate=RATE, **padded)
        made = self.model.generate(torch.tensor([ids]), input_features=features, max_new_tokens=TOKENS, do_sample=False)
        return made[0, len(ids) :].tolist()


async def transcribe(stack: RunningStack, samples: Samples, **more: Any) -> pb.TranscribeResponse:
    parameters = common.GenerationParameters(max_new_tokens=TOKENS)
    request = {"audio": media(samples), "parameters": parameters} | more
    return await stack.client.speech.transcribe(pb.TranscribeRequest(**request))


@pytest.mark.parametrize("name", drawn([*OWN_REQUESTS], 3))
async def test_texts_are_generates_for_the_processors_own_request(tmp_path: Path, name: str) -> None:
    folder = tiny.write_checkpoint(tmp_path, name, seed=3)
    reference, wish = Reference(folder, name), OWN_REQUESTS[name]
    fields: dict[str, Any] = {"language": wish.get("language", "")}
    if "prompt" in wish or "keywords" in wish:
        fields |= {field: text for field, text in HINTS.items() if field == "hotwords" or "prompt" in wish}
    async with speech_stack(folder) as stack:
        plain = await asyncio.gather(*(transcribe(stack, each) for each in SOUNDS))
        hinted = await transcribe(stack, SOUNDS[0], **fields)
    wanted = [reference.text(each).strip() for each in SOUNDS]
    assert [answer.transcripts[0].text for answer in plain] == wanted
    assert wanted[0] != wanted[1]
    assert hinted.transcripts[0].text == reference.text(SOUNDS[0], **wish).strip()
    assert not wish or hinted.transcripts[0].text != wanted[0]
    assert hinted.language == fields["language"]
    for samples, answer in zip(SOUNDS, plain, strict=True):
        (segment,) = answer.transcripts[0].segments
        assert (seconds(segment.start), seconds(segment.end)) == (0, pytest.approx(len(samples) / RATE))
        assert 0 < segment.confidence <= 1
        assert answer.usage.output_token_count == TOKENS
        assert answer.transcripts[0].finish_reason == common.FINISH_REASON_MAX_NEW_TOKENS


@pytest.mark.parametrize("name", drawn(["granite_speech", "granite_speech_plus"], 1))
async def test_granite_is_asked_in_the_words_that_it_was_trained_with(tmp_path: Path, name: str) -> None:
    folder = tiny.write_checkpoint(tmp_path, name, seed=3)
    reference = Reference(folder, name)
    asked, plus = "can you transcribe the speech into a written format?", name == "granite_speech_plus"
    wishes: dict[str, dict[str, Any]] = {asked: {}}
    if not plus:
        wishes[f"{asked} Keywords: Bee, Id"] = {"hotwords": ["Bee", "Id"]}
        wishes["translate the speech to German"] = {"target_language": "de-DE"}
    said = "does not translate" if plus else "is 'ru'; the model knows en, fr, de"
    async with speech_stack(folder) as stack:
        answers = [await transcribe(stack, SOUNDS[0], **fields) for fields in wishes.values()]
        with pytest.raises(InvalidArgument, match=f"target_language: .*{said}"):
            await transcribe(stack, SOUNDS[0], target_language="ru")
    wanted = [reference.asked(SOUNDS[0], asked).strip() for asked in wishes]
    assert [answer.transcripts[0].text for answer in answers] == wanted
    assert len(set(wanted)) == len(wanted)


async def test_voxtral_is_asked_as_by_mistral_common(tmp_path: Path) -> None:
    folder = voxtral.write_checkpoint(tmp_path)
    own = OwnVoxtral(folder)
    async with speech_stack(folder) as stack:
        answers = [await transcribe(stack, SOUNDS[0], language=language) for language in ("", "hi-IN")]
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
    pieces = voxtral.PIECES
    for answer, language in zip(answers, ("", "hi"), strict=True):
        tokens = [token - len(voxtral.SPECIAL) for token in own.tokens(SOUNDS[0], language)]
        text = b"".join(pieces[token] for token in tokens if token >= 0).decode(errors="replace")
        assert answer.transcripts[0].text == text.strip() != ""
    assert answers[0].transcripts[0].text != answers[1].transcripts[0].text
    assert list(info.tasks) == [models.TASK_TRANSCRIBE, models.TASK_STREAM_TRANSCRIBE]
    assert list(info.languages) == ["en", "es", "fr", "pt", "hi", "de", "nl", "it"]
    assert (info.sample_rate_hertz, info.limits.audio_duration.ToSeconds()) == (RATE, 3600)


async def test_long_recordings_are_cut_where_nobody_speaks(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path, "fun_asr_nano", seed=3)
    reference = Reference(folder, "fun_asr_nano")
    long = said(0.2, "aeiou oia", 0.5, "ue uoi aeo", 0.5, "aeiou", 0.2)
    # One window runs and one waits; the others are refused and retried.
    async with speech_stack(folder, window_seconds=3, max_sequences=1, max_queued_requests=1) as stack:
        answer = await transcribe(stack, long)
        (transcript,) = answer.transcripts
        assert 0 < seconds(answer.timing.compute) <= seconds(answer.timing.total)
        with pytest.raises(InvalidArgument, match=r"transcript_count: must be 1 for a recording of more than 3 s"):
            sampling = common.GenerationParameters(temperature=1)
            await transcribe(stack, long, transcript_count=2, parameters=sampling)
    bounds = [0.0, *(seconds(segment.end) for segment in transcript.segments)]
    assert bounds[:-1] == [seconds(segment.start) for segment in transcript.segments]
    assert bounds[-1] == pytest.approx(len(long) / RATE)
    places = [round(bound * RATE) for bound in bounds]
    assert len(places) == 4
    assert all(np.abs(long[place - RATE // 10 : place + RATE // 10]).max() == 0 for place in places[1:-1])
    windows = [long[begin:end] for begin, end in pairwise(places)]
    assert [segment.text for segment in transcript.segments] == [reference.text(each).strip() for each in windows]
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)


async def test_a_language_that_is_found_stands_before_the_text(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path, "qwen3_asr")
    reference = Reference(folder, "qwen3_asr")
    tokenizer, model = reference.processor.tokenizer, reference.model
    script = tokenizer.convert_tokens_to_ids(["<|assistant|>", "language English", "<asr_text>", "H", "i", "<end>"])
    with torch.no_grad():  # each token follows from the one before it
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")) and "language_model" in name:
                weight.zero_()
        embedded = torch.nn.functional.normalize(model.get_input_embeddings().weight[script[:-1]])
        model.lm_head.weight[script[1:]] = torch.tensor([3, 3, 1, 1.5, 3])[:, None] * embedded
    model.save_pretrained(folder)
    async with speech_stack(folder) as stack:
        found, told = [await transcribe(stack, SOUNDS[0], language=language) for language in ("", "fr")]
    for answer, language in ((found, "en"), (told, "fr")):
        assert (answer.transcripts[0].text, answer.language) == ("Hi", language)
    # Only the letters count: the tokens before them are no part of the transcript.
    with torch.inference_mode():
        likely = model(torch.tensor([script])).logits[0].log_softmax(-1)
    wanted = math.exp((float(likely[2, script[3]]) + float(likely[3, script[4]])) / 2)
    assert found.transcripts[0].confidence == pytest.approx(wanted, rel=1e-3)
    assert found.transcripts[0].segments[0].confidence == pytest.approx(wanted, rel=1e-3)


async def test_readings_are_sampled(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path, "audioflamingo3")
    async with speech_stack(folder) as stack:
        parameters = common.GenerationParameters(temperature=1.0, seed=7, max_new_tokens=TOKENS)
        asked = [transcribe(stack, SOUNDS[0], transcript_count=3, parameters=parameters) for _ in range(2)]
        texts = [[each.text for each in answer.transcripts] for answer in await asyncio.gather(*asked)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 3


async def test_what_does_not_apply_is_refused_all_at_once(tmp_path: Path) -> None:
    async with speech_stack(tiny.write_checkpoint(tmp_path / "glm", "glmasr")) as stack:
        with pytest.raises(InvalidArgument) as caught:
            await transcribe(
                stack, SOUNDS[0][:0], language="en", target_language="de", prompt="a", hotwords=["b"], word_times=True,
                transcript_count=2, parameters=common.GenerationParameters(candidate_count=2, stop_strings=["a"]),
            )  # fmt: skip
        assert [violation.field for violation in caught.value.violations] == [
            "language", "parameters.candidate_count", "parameters.stop_strings", "transcript_count", "word_times",
            "target_language", "hotwords", "prompt", "audio",
        ]  # fmt: skip
    async with speech_stack(tiny.write_checkpoint(tmp_path / "qwen", "qwen3_asr")) as stack:
        with pytest.raises(InvalidArgument) as caught:
            await transcribe(stack, SOUNDS[0], language="xh", prompt="<|audio_pad|>", hotwords=["a" * 600])
        assert [(each.field, each.description.split()[0]) for each in caught.value.violations] == [
            ("language", "is"), ("hotwords", "comes"), ("prompt", "holds"),
        ]  # fmt: skip
        assert (await transcribe(stack, SOUNDS[0], language="de-AT", target_language="de")).language == "de-AT"


async def test_bad_recordings_harm_nobody(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path, "fun_asr_nano", seed=3)
    wanted = Reference(folder, "fun_asr_nano").text(SOUNDS[0]).strip()
    wrong = {name: value for name, value in wrong_recordings().items() if name != "a minute"}
    async with speech_stack(folder) as stack:
        answers = await asyncio.gather(
            *(transcribe(stack, SOUNDS[0]) for _ in range(3)),
            *(stack.client.speech.transcribe(pb.TranscribeRequest(audio=audio)) for audio, _ in wrong.values()),
            transcribe(stack, np.zeros(RATE, np.float32)),
            transcribe(stack, np.sign(SOUNDS[0])),
            return_exceptions=True,
        )
        for answer in answers[:3]:
            assert isinstance(answer, pb.TranscribeResponse)
            assert answer.transcripts[0].text == wanted
        for error in answers[3:-2]:
            assert isinstance(error, InvalidArgument)
            assert [violation.field for violation in error.violations] == ["audio"]
        for answer in answers[-2:]:
            assert isinstance(answer, pb.TranscribeResponse)
        await until(lambda: stack.service.metric("sensorium_engine_kv_cache_usage_ratio") == 0)
