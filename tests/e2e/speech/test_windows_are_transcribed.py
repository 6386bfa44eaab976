"""Transcribe by Whisper-like models, through gateway and client, against `generate` in float32."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration, pipeline

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from tests.drawn import drawn
from tests.e2e.speech.test_bad_audio_harms_nobody import wrong_recordings
from tests.e2e.speech.test_recordings_are_transcribed import seconds
from tests.e2e.stack import RunningStack, speech_stack
from tests.sounds import RATE, Samples, media, sound
from tests.tiny.listening_models import LANGUAGES, SECONDS, listening_tokenizer, write_listening_model
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SOUNDS = [sound(length, seed) for seed, length in enumerate((3.0, 6.5, 0.7))]
"""Recordings; one is longer than a window."""
Stretches = list[tuple[float, float, str]]


class Reference:
    """The library's own `generate`, called by hand."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = WhisperForConditionalGeneration.from_pretrained(folder).eval()
        self.extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.pipeline: Any = pipeline(
            "automatic-speech-recognition", model=self.model, feature_extractor=self.extractor, tokenizer=self.tokenizer
        )

    def inputs(self, samples: Samples) -> Any:
        long = {"truncation": False, "padding": "longest"} if len(samples) > SECONDS * RATE else {}
        return self.extractor(samples, sampling_rate=RATE, return_tensors="pt", **long)

    @torch.inference_mode()
    def stretches(self, samples: Samples, language: str = "en", task: str = "transcribe", **more: Any) -> Stretches:
        """Segments that begin within the recording; `generate` also transcribes the silence that pads a window."""
        made = self.model.generate(
            **self.inputs(samples), language=language, task=task, return_timestamps=True, return_segments=True, **more
        )
        length = len(samples) / RATE
        found = [
            (float(each["start"]), float(each["end"]), self.tokenizer.decode(each["tokens"], skip_special_tokens=True))
            for each in made["segments"][0]
        ]
        return [
            (start, min(end, length), text.strip()) for start, end, text in found if text.strip() and start < length
        ]

    @torch.inference_mode()
    def start(self, samples: Samples, prompt: str = "") -> torch.Tensor:
        """Probabilities of the token after the start of transcript."""
        ids = [self.model.generation_config.decoder_start_token_id]
        if prompt:
            ids = [*self.tokenizer("<|startofprev|> " + prompt, add_special_tokens=False)["input_ids"], *ids]
        features = self.inputs(samples)["input_features"][..., : SECONDS * 100]
        return self.model(features, decoder_input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_listening_model(tmp_path_factory.mktemp("whisper"), seed=5)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(folder: Path) -> AsyncIterator[RunningStack]:
    async with speech_stack(folder) as running:
        yield running


async def transcribe(stack: RunningStack, samples: Samples, **more: Any) -> pb.TranscribeResponse:
    return await stack.client.speech.transcribe(pb.TranscribeRequest(audio=media(samples), **more))


def found(transcript: pb.Transcript) -> Stretches:
    return [(seconds(each.start), seconds(each.end), each.text) for each in transcript.segments]


def assert_equal(ours: Stretches, theirs: Stretches) -> None:
    assert [text for *_, text in ours] == [text for *_, text in theirs]
    np.testing.assert_allclose([pair[:2] for pair in ours], [pair[:2] for pair in theirs], atol=1e-6)


@pytest.mark.parametrize("seed", drawn([0, 5], 1))
async def test_segments_are_generates_in_company(tmp_path: Path, seed: int) -> None:
    folder = write_listening_model(tmp_path / "whisper", seed=seed)
    reference = Reference(folder)
    wanted = [reference.stretches(each) for each in SOUNDS]
    async with speech_stack(folder) as stack:
        answers = await asyncio.gather(*(transcribe(stack, each, language="en") for each in SOUNDS))
        assert stack.service.metric("sensorium_engine_batch_size_sum") > stack.service.metric(
            "sensorium_engine_steps_total"
        )
        cut = await transcribe(stack, SOUNDS[0], parameters=common.GenerationParameters(max_new_tokens=2))
        assert cut.transcripts[0].finish_reason == common.FINISH_REASON_MAX_NEW_TOKENS
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_TRANSCRIBE, models.TASK_STREAM_TRANSCRIBE]
        assert sorted(info.languages) == sorted(LANGUAGES)
        assert (info.sample_rate_hertz, info.limits.audio_duration.ToSeconds()) == (RATE, 3600)
    for samples, theirs, answer in zip(SOUNDS, wanted, answers, strict=True):
        (transcript,) = answer.transcripts
        assert_equal(found(transcript), theirs)
        assert "".join(transcript.text.split()) == "".join("".join(text.split()) for *_, text in theirs) != ""
        assert 0 < transcript.confidence <= 1
        first = reference.start(samples)[reference.model.generation_config.no_timestamps_token_id - 1]
        assert transcript.segments[0].no_speech_probability == pytest.approx(float(first), rel=1e-3)
        assert answer.language == "en"
        assert not answer.HasField("language_confidence")
        assert seconds(answer.usage.audio_duration) == pytest.approx(len(samples) / RATE)
        assert answer.usage.output_token_count > 0


async def test_language_is_found_out_and_translation_and_prompt_are_told(
    stack: RunningStack, reference: Reference
) -> None:
    known = {code: reference.tokenizer.convert_tokens_to_ids(f"<|{code}|>") for code in LANGUAGES}
    for samples in (SOUNDS[0], SOUNDS[2]):
        shares = reference.start(samples)[list(known.values())]
        best = LANGUAGES[int(shares.argmax())]
        answer = await transcribe(stack, samples)
        assert answer.language == best
        assert answer.language_confidence == pytest.approx(float(shares.max() / shares.sum()), rel=1e-3)
        assert_equal(found(answer.transcripts[0]), reference.stretches(samples, best))
    answer = await transcribe(stack, SOUNDS[1], language="de-AT", target_language="en-GB")
    assert_equal(found(answer.transcripts[0]), reference.stretches(SOUNDS[1], "de", "translate"))
    answer = await transcribe(stack, SOUNDS[1], language="fr", prompt=" a cad ", hotwords=["bee", "id"])
    ids = reference.tokenizer("<|startofprev|> bee, id a cad", add_special_tokens=False, return_tensors="pt")
    theirs = reference.stretches(SOUNDS[1], "fr", prompt_ids=ids["input_ids"][0])
    assert_equal(found(answer.transcripts[0]), theirs)


async def test_a_model_made_for_one_language_finds_out_none(tmp_path: Path) -> None:
    folder = write_listening_model(tmp_path / "german", seed=5, language="german")
    async with speech_stack(folder) as stack:
        answer = await transcribe(stack, SOUNDS[0])
        assert answer.language == "de"
        assert not answer.HasField("language_confidence")
        assert_equal(found(answer.transcripts[0]), Reference(folder).stretches(SOUNDS[0], "de"))


@pytest.mark.parametrize("languages", [True, False])
async def test_a_language_that_older_files_force_is_that_of_generate(tmp_path: Path, languages: bool) -> None:
    ids = listening_tokenizer().get_vocab()
    forced = [[1, ids["<|fr|>"]], [2, ids["<|transcribe|>"]], [3, ids["<|notimestamps|>"]]]
    folder = write_listening_model(tmp_path, seed=5, languages=languages, forced_decoder_ids=forced)
    reference: Any = Reference(folder)
    wanted = reference.stretches(SOUNDS[1], language=None, task=None)
    async with speech_stack(folder) as stack:
        answer = await transcribe(stack, SOUNDS[1])
    assert_equal(found(answer.transcripts[0]), wanted)
    assert answer.language == ("fr" if languages else "")


async def test_confidence_is_that_of_the_text_alone(stack: RunningStack) -> None:
    """What the model writes of the silence that fills the window behind the recording counts for nothing."""
    for each in (SOUNDS[0], SOUNDS[2]):
        (transcript,) = (await transcribe(stack, each, language="en")).transcripts
        logs = [math.log(segment.confidence) for segment in transcript.segments]
        counts = [len(segment.text.replace(" ", "")) for segment in transcript.segments]
        mean = sum(log * count for log, count in zip(logs, counts, strict=True)) / sum(counts)
        assert transcript.confidence == pytest.approx(math.exp(mean), rel=1e-3)


async def test_words_are_the_pipelines(stack: RunningStack, reference: Reference) -> None:
    for samples in (SOUNDS[1], SOUNDS[0]):
        answer = await transcribe(stack, samples, language="en", word_times=True)
        told = {"language": "en", "task": "transcribe", "num_beams": 1}
        wanted = reference.pipeline(samples, return_timestamps="word", generate_kwargs=told)["chunks"]
        words = [word for segment in answer.transcripts[0].segments for word in segment.words]
        assert len(words) >= 3 or samples is not SOUNDS[1]
        wanted = wanted[: len(words)]  # the reference also transcribes the silence after the end
        assert [word.text for word in words] == [chunk["text"].strip() for chunk in wanted]
        times = np.array([(seconds(word.start), seconds(word.end)) for word in words])
        theirs = np.array([chunk["timestamp"] for chunk in wanted])
        np.testing.assert_allclose(times, theirs.clip(max=len(samples) / RATE), atol=0.011)
        assert all(0 < word.confidence <= 1 for word in words)


async def test_readings_are_sampled_or_searched(stack: RunningStack, reference: Reference) -> None:
    parameters = common.GenerationParameters(temperature=1.0, seed=7)
    several = [
        await transcribe(stack, SOUNDS[0], language="en", transcript_count=3, parameters=parameters) for _ in range(2)
    ]
    texts = [[each.text for each in answer.transcripts] for answer in several]
    assert len(texts[0]) == 3
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1
    beams = common.GenerationParameters(beam_search=common.BeamSearchParameters(beam_count=3))
    whole = sound(4, 3)
    (best,) = (await transcribe(stack, whole, language="en", parameters=beams)).transcripts
    wanted = reference.model.generate(
        **reference.inputs(whole), language="en", task="transcribe", return_timestamps=True, num_beams=3,
        force_unique_generate_call=True,
    )  # fmt: skip
    text = reference.tokenizer.decode(wanted[0], skip_special_tokens=True)
    # A segment that the window's end cuts is left to the next window.
    assert len(best.text) >= 2
    assert "".join(text.split()).startswith("".join(best.text.split()))


async def test_what_does_not_apply_is_refused_all_at_once(stack: RunningStack) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await transcribe(
            stack, SOUNDS[0][:0], language="xx!", target_language="de", prompt="a" * 60, transcript_count=2,
            parameters=common.GenerationParameters(
                candidate_count=2, logprob_count=1, stop_strings=["a"], ignore_eos=True
            ),
        )  # fmt: skip
    assert [violation.field for violation in caught.value.violations] == [
        "language", "language", "parameters.candidate_count", "parameters.logprob_count", "parameters.stop_strings",
        "parameters.ignore_eos", "transcript_count", "target_language", "prompt", "audio",
    ]  # fmt: skip
    with pytest.raises(InvalidArgument, match=r"transcript_count: must be 1 for a recording of more than 4 s"):
        sampling = common.GenerationParameters(temperature=1)
        await transcribe(stack, SOUNDS[1], transcript_count=2, parameters=sampling)
    with pytest.raises(InvalidArgument, match=r"parameters.temperature: must be in \[0, 100\]"):
        await transcribe(stack, SOUNDS[1], language="en", parameters=common.GenerationParameters(temperature=-1))
    with pytest.raises(InvalidArgument) as caught:
        await transcribe(stack, SOUNDS[0], prompt="x" * 100_000, hotwords=["y"], transcript_count=99)
    assert [violation.field for violation in caught.value.violations] == ["transcript_count", "prompt"]
    with pytest.raises(InvalidArgument, match="language: is 'pt'; the model knows de, en, fr"):
        await transcribe(stack, SOUNDS[0], language="pt")


async def test_a_model_without_languages_and_alignment_is_told_neither(tmp_path: Path) -> None:
    long = sound(8.5, 1)
    one = write_listening_model(tmp_path / "one", languages=False, aligned=False)
    async with speech_stack(one) as stack:
        with pytest.raises(InvalidArgument, match="word_times: does not apply"):
            await transcribe(stack, SOUNDS[0], word_times=True)
        with pytest.raises(InvalidArgument, match="target_language: does not apply: the model does not translate"):
            await transcribe(stack, SOUNDS[0], target_language="en")
        answer = await transcribe(stack, long)
        reference = Reference(one)
        made = reference.model.generate(**reference.inputs(long), return_timestamps=True)[0]
        text = reference.tokenizer.decode(made, skip_special_tokens=True)
        ours = "".join(answer.transcripts[0].text.split())
        assert len(ours) > 5
        assert "".join(text.split()).startswith(ours)  # the reference goes on after the recording's end
        assert answer.language == ""


async def test_bad_recordings_harm_nobody(stack: RunningStack, reference: Reference) -> None:
    wanted = reference.stretches(SOUNDS[0])
    wrong = {name: value for name, value in wrong_recordings().items() if name not in {"a minute", "one sample"}}
    answers = await asyncio.gather(
        *(transcribe(stack, SOUNDS[0], language="en") for _ in range(3)),
        *(stack.client.speech.transcribe(pb.TranscribeRequest(audio=audio)) for audio, _ in wrong.values()),
        transcribe(stack, np.zeros(RATE, np.float32)),
        transcribe(stack, np.sign(SOUNDS[0])),
        transcribe(stack, SOUNDS[0][:1]),
        return_exceptions=True,
    )
    for answer in answers[:3]:
        assert isinstance(answer, pb.TranscribeResponse)
        assert_equal(found(answer.transcripts[0]), wanted)
    for error, (_, said) in zip(answers[3:-3], wrong.values(), strict=True):
        assert isinstance(error, InvalidArgument)
        assert said in str(error)
    for answer in answers[-3:]:
        assert isinstance(answer, pb.TranscribeResponse)
        assert not any(math.isnan(segment.confidence) for segment in answer.transcripts[0].segments)
    await until(lambda: stack.service.metric("sensorium_engine_kv_cache_usage_ratio") == 0)
