"""Transcribe by frame models (CTC) through gateway and client, against transformers in float32."""

import asyncio
import json
import math
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf.duration_pb2 import Duration
from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer, Wav2Vec2CTCTokenizer, pipeline
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from tests.e2e.speech.test_bad_audio_harms_nobody import wrong_recordings
from tests.e2e.stack import RunningStack, speech_stack
from tests.sounds import RATE, Samples, media, sound
from tests.tiny.audio_models import write_ctc_model

SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((1.5, 0.4, 2.0, 1.0, 1.5))]
CHARACTERS = ["wav2vec2", "wav2vec2-masked", "wav2vec2-bert"]


@pytest.fixture(scope="module", params=[*CHARACTERS, "parakeet"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ctc_model(tmp_path_factory.mktemp(request.param), request.param)


class Reference:
    """The model called by hand, and the library's pipeline if it supports the model."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCTC.from_pretrained(folder).eval()
        self.extractor = AutoFeatureExtractor.from_pretrained(folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.pipeline: Any = pipeline(
            "automatic-speech-recognition", model=self.model, feature_extractor=self.extractor, tokenizer=self.tokenizer
        )

    @torch.inference_mode()
    def text(self, samples: Samples) -> str:
        inputs = self.extractor(samples, sampling_rate=RATE, return_tensors="pt")
        if hasattr(self.model, "generate") and "attention_mask" in inputs:
            return self.tokenizer.decode(self.model.generate(**inputs)[0]).strip()
        return self.tokenizer.decode(self.model(**inputs).logits[0].argmax(-1)).strip()

    @torch.inference_mode()
    def confidence(self, samples: Samples) -> float:
        """The geometric mean of the probabilities of the words' tokens, each in its most certain frame."""
        inputs = self.extractor(samples, sampling_rate=RATE, return_tensors="pt")
        values, ids = self.model(**inputs).logits[0].log_softmax(-1).max(-1)
        runs = groupby(zip(ids.tolist(), values.tolist(), strict=True), key=lambda pair: pair[0])
        silent = {self.tokenizer.pad_token_id, self.tokenizer.word_delimiter_token_id}
        best = [max(value for _, value in run) for token, run in runs if token not in silent]
        return math.exp(sum(best) / len(best))


async def transcribe(stack: RunningStack, samples: Samples, **more: Any) -> pb.TranscribeResponse:
    return await stack.client.speech.transcribe(pb.TranscribeRequest(audio=media(samples), **more))


def seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


async def test_texts_are_the_models_own_in_company(folder: Path) -> None:
    reference = Reference(folder)
    async with speech_stack(folder, batch_wait_ms=200) as stack:
        answers = await asyncio.gather(*(transcribe(stack, each) for each in SOUNDS))
        steps = stack.service.metric("sensorium_engine_steps_total")
        # Sounds of one length may share a batch, and others only where padding changes nothing.
        assert (steps < 4) == ("attention_mask" in reference.extractor(SOUNDS[0], sampling_rate=RATE))
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_TRANSCRIBE, models.TASK_STREAM_TRANSCRIBE]
        assert (info.sample_rate_hertz, info.limits.audio_duration.ToSeconds()) == (RATE, 3600)
        with pytest.raises(TaskNotSupported):
            await stack.client.speech.classify_audio(pb.ClassifyAudioRequest(recordings=[media(SOUNDS[0])]))
    for samples, answer in zip(SOUNDS, answers, strict=True):
        (transcript,) = answer.transcripts
        assert transcript.text == reference.text(samples) != ""
        assert [word for each in transcript.segments for word in each.text.split()] == transcript.text.split()
        assert not any(segment.words for segment in transcript.segments)
        assert seconds(answer.usage.audio_duration) == pytest.approx(len(samples) / RATE)


@pytest.mark.parametrize("name", ["wav2vec2-adapter", "wav2vec2-bert-adapter"])
async def test_adapters_hear_to_the_end_and_no_neighbours(tmp_path: Path, name: str) -> None:
    """Their frames are long: the last one reaches far beyond the audio, into the padding of a batch."""
    folder = write_ctc_model(tmp_path / name, name)
    reference = Reference(folder)
    async with speech_stack(folder, batch_wait_ms=200) as stack:
        answers = await asyncio.gather(*(transcribe(stack, each) for each in SOUNDS))
    assert [answer.transcripts[0].text for answer in answers] == [reference.text(each) for each in SOUNDS]


async def test_an_extractor_needs_no_torchaudio(tmp_path: Path) -> None:
    if "granite_speech5_ctc" not in CONFIG_MAPPING:
        pytest.skip("of a later version of transformers")
    folder = write_ctc_model(tmp_path / "granite", "granite-speech5")
    reference = Reference(folder)
    async with speech_stack(folder, batch_wait_ms=200) as stack:
        answers = await asyncio.gather(*(transcribe(stack, each) for each in SOUNDS))
    wanted = [reference.text(each) for each in SOUNDS]
    assert len(set(wanted)) == len(SOUNDS)
    assert [answer.transcripts[0].text for answer in answers] == wanted


async def test_a_blank_need_not_be_the_padding(tmp_path: Path) -> None:
    reference = Reference(write_ctc_model(tmp_path / "omniasr", "omniasr"))
    blank, wanted, runs = reference.model.config.blank_token_id, list[str](), list[int]()
    for each in SOUNDS:
        with torch.inference_mode():
            best = reference.model(**reference.extractor(each, sampling_rate=RATE)).logits[0].argmax(-1).tolist()
        runs = [token for token, _ in groupby(best)]
        wanted.append(reference.tokenizer.decode([token for token in runs if token != blank], group_tokens=False))
    assert blank in runs
    async with speech_stack(tmp_path / "omniasr", batch_wait_ms=200) as stack:
        answers = await asyncio.gather(*(transcribe(stack, each) for each in SOUNDS))
    assert [answer.transcripts[0].text for answer in answers] == [text.strip() for text in wanted]


@pytest.mark.parametrize("name", CHARACTERS)
async def test_words_of_long_recordings_are_the_pipelines(tmp_path: Path, name: str) -> None:
    """Windows are cut where the pipeline cuts, with the same words at the same times."""
    folder = write_ctc_model(tmp_path / name, name, seed=3)
    reference = Reference(folder)
    long = sound(11.3, 7)
    async with speech_stack(folder, window_seconds=2) as stack:
        answers = await asyncio.gather(*(transcribe(stack, each, word_times=True) for each in (long, SOUNDS[0])))
    for samples, answer in zip((long, SOUNDS[0]), answers, strict=True):
        if name == "wav2vec2-bert" and samples is long:
            continue  # the pipeline mistakes its frames for samples
        wanted = reference.pipeline(samples, return_timestamps="word", chunk_length_s=2)
        (transcript,) = answer.transcripts
        assert transcript.text == wanted["text"].strip()
        words = [word for segment in transcript.segments for word in segment.words]
        assert [word.text for word in words] == [chunk["text"] for chunk in wanted["chunks"]]
        times = [(seconds(word.start), seconds(word.end)) for word in words]
        np.testing.assert_allclose(times, [chunk["timestamp"] for chunk in wanted["chunks"]], atol=1e-6)
        for segment in transcript.segments:
            assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    assert answers[1].transcripts[0].confidence == pytest.approx(reference.confidence(SOUNDS[0]), rel=1e-4)


async def test_pieces_of_words_have_times(tmp_path: Path) -> None:
    folder = write_ctc_model(tmp_path / "parakeet", "parakeet", seed=1)
    async with speech_stack(folder) as stack:
        answer = await transcribe(stack, sound(8, 2), word_times=True)
    (transcript,) = answer.transcripts
    words = [word for segment in transcript.segments for word in segment.words]
    assert len(words) > 5
    assert [word.text for word in words] == transcript.text.split()
    ends = [0.0, *(seconds(word.end) for word in words)]
    assert all(end <= seconds(word.start) for end, word in zip(ends, words, strict=False))
    assert ends[-1] <= 8
    assert all(0 < word.confidence <= 1 for word in words)


async def test_no_word_ends_behind_the_sound(tmp_path: Path) -> None:
    """A frame begins with any sample of its 40 ms here, so the last one reaches beyond the recording."""
    folder = write_ctc_model(tmp_path / "parakeet", "parakeet")
    cut = [sound(2, seed)[:-1] for seed in range(6)]
    async with speech_stack(folder) as stack:
        answers = await asyncio.gather(*(transcribe(stack, each, word_times=True) for each in cut))
    last = [answer.transcripts[0].segments[-1] for answer in answers]
    ends = [seconds(end) for segment in last for end in (segment.end, segment.words[-1].end)]
    assert max(ends) == pytest.approx(2 - 1 / RATE)


async def test_what_does_not_apply_is_refused_all_at_once(tmp_path: Path) -> None:
    async with speech_stack(write_ctc_model(tmp_path / "wav2vec2", "wav2vec2")) as stack:
        with pytest.raises(InvalidArgument) as caught:
            await transcribe(
                stack, SOUNDS[0][:3], language="no tag!", target_language="de", prompt="Hi", hotwords=["x"],
                transcript_count=3, parameters=common.GenerationParameters(temperature=0),
            )  # fmt: skip
        assert [violation.field for violation in caught.value.violations] == [
            "language", "target_language", "prompt", "hotwords", "transcript_count", "parameters", "audio",
        ]  # fmt: skip
        with pytest.raises(InvalidArgument, match=r"transcript_count: must be in \[1, 16\], not 17"):
            await transcribe(stack, SOUNDS[0], transcript_count=17)
        answer = await transcribe(stack, SOUNDS[0], transcript_count=1)
        assert answer.language == ""
        assert not answer.transcripts[0].finish_reason
        with pytest.raises(InvalidArgument, match="language: must be empty: the model has one, and its files do not"):
            await transcribe(stack, SOUNDS[0], language="en")


async def test_a_language_of_another_adapter_is_refused(tmp_path: Path) -> None:
    """MMS has a vocabulary and an adapter for each language, of which the files choose one."""
    folder = write_ctc_model(tmp_path / "mms", "wav2vec2-masked")
    wanted = Reference(folder).text(SOUNDS[0])
    vocabulary = json.loads((folder / "vocab.json").read_text())
    nested = folder / "nested.json"
    nested.write_text(json.dumps({"fra": vocabulary, "eng": vocabulary}))
    Wav2Vec2CTCTokenizer(str(nested), target_lang="fra").save_pretrained(folder)
    async with speech_stack(folder) as stack:
        for language in ("", "fr", "fr-CA", "fra"):
            answer = await transcribe(stack, SOUNDS[0], language=language)
            assert answer.transcripts[0].text == wanted
        with pytest.raises(InvalidArgument, match=r"language: is 'en'; the model knows fra$"):
            await transcribe(stack, SOUNDS[0], language="en")


async def test_bad_recordings_harm_nobody(tmp_path: Path) -> None:
    folder = write_ctc_model(tmp_path / "masked", "wav2vec2-masked")
    wanted = Reference(folder).text(SOUNDS[0])
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
    for error, (_, said) in zip(answers[3:-2], wrong.values(), strict=True):
        assert isinstance(error, InvalidArgument)
        assert [violation.field for violation in error.violations] == ["audio"]
        assert said in str(error)
    for answer in answers[-2:]:
        assert isinstance(answer, pb.TranscribeResponse)
