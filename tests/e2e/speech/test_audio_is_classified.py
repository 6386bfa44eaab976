"""ClassifyAudio by the model's own labels, through gateway and client, against transformers' pipeline in float32."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from tests.e2e.stack import RunningStack, speech_stack
from tests.sounds import Samples, media, sound
from tests.tiny.audio_models import write_audio_model

LABELS = ["yes", "no", "up", "down", "left"]
SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((1.0, 0.4, 1.6, 0.9, 1.0))]
TOLERANCE = 2e-5
"""Tolerance of probabilities and of logits of about 1, whatever else is in the batch."""


def write(folder: Path, name: str, **config: Any) -> Path:
    return write_audio_model(folder, name, AutoModelForAudioClassification, id2label=dict(enumerate(LABELS)), **config)


def by_pipeline(folder: Path) -> Any:
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    return pipeline("audio-classification", model=str(folder), feature_extractor=extractor, dtype=torch.float32)


async def classify(stack: RunningStack, *sounds: Samples, **more: Any) -> pb.ClassifyAudioResponse:
    return await stack.client.speech.classify_audio(pb.ClassifyAudioRequest(recordings=map(media, sounds), **more))


def assert_equal(found: Any, wanted: list[dict[str, Any]]) -> None:
    scores = {label["label"]: label["score"] for label in wanted}
    assert [label.label for label in found.labels] == [label["label"] for label in wanted]
    np.testing.assert_allclose(
        [label.score for label in found.labels], [scores[label.label] for label in found.labels], atol=TOLERANCE
    )


@pytest.mark.parametrize(
    ("name", "batches"),
    [("wav2vec2", 4), ("wav2vec2-masked", 1), ("hubert", 1), ("wavlm", 4), ("wav2vec2-bert", 1), ("ast", 1),
     ("whisper", 1)],
)  # fmt: skip
async def test_labels_are_the_pipelines(tmp_path: Path, name: str, batches: int) -> None:
    """Models that padding would influence batch only recordings of equal length."""
    folder = write(tmp_path / name, name)
    ask = by_pipeline(folder)
    expected = [ask(each, top_k=len(LABELS)) for each in SOUNDS]
    async with speech_stack(folder) as stack:
        answer = await classify(stack, *SOUNDS)
        for wanted, found in zip(expected, answer.results, strict=True):
            assert_equal(found, wanted)
            assert all(LABELS[label.index] == label.label for label in found.labels)
        assert stack.service.metric("sensorium_engine_steps_total") == batches
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_CLASSIFY_AUDIO]
        assert list(info.labels) == LABELS
        assert info.sample_rate_hertz == 16_000
        assert info.limits.media_bytes == 30 << 20
        assert info.limits.audio_duration.ToSeconds() in (120, 3600)
        assert answer.usage.audio_duration.ToNanoseconds() == pytest.approx(4.9e9)
        assert answer.timing.total.ToNanoseconds() > answer.timing.compute.ToNanoseconds() > 0


async def test_answers_of_many_requests_at_once_are_their_own(tmp_path: Path) -> None:
    folder = write(tmp_path / "hubert", "hubert")
    ask = by_pipeline(folder)
    sounds = [sound(0.3 + 0.05 * seed, seed) for seed in range(24)]
    async with speech_stack(folder, batch_wait_ms=50) as stack:
        answers = await asyncio.gather(*(classify(stack, each) for each in sounds))
        assert stack.service.metric("sensorium_engine_steps_total") < 12
    for each, answer in zip(sounds, answers, strict=True):
        assert_equal(answer.results[0], ask(each, top_k=len(LABELS)))


async def test_scores_are_made_as_asked(tmp_path: Path) -> None:
    folder = write(tmp_path / "ast", "ast")
    ask = by_pipeline(folder)
    async with speech_stack(folder) as stack:
        for function, options in {
            "softmax": {},
            "sigmoid": {"multi_label": True},
            "none": {"raw_scores": True},
        }.items():
            answer = await classify(stack, SOUNDS[0], **options)
            assert_equal(answer.results[0], ask(SOUNDS[0], top_k=len(LABELS), function_to_apply=function))
        best = await classify(stack, *SOUNDS, top_k=2)
        assert [len(result.labels) for result in best.results] == [2] * len(SOUNDS)


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
async def test_scores_are_what_the_model_was_trained_for(tmp_path: Path, problem: str) -> None:
    folder = write(tmp_path / "wav2vec2", "wav2vec2", problem_type=problem)
    async with speech_stack(folder) as stack:
        answer = await classify(stack, SOUNDS[0])
        assert_equal(answer.results[0], by_pipeline(folder)(SOUNDS[0], top_k=9))


async def test_a_model_with_labels_of_its_own_refuses_others(tmp_path: Path) -> None:
    async with speech_stack(write(tmp_path / "ast", "ast", problem_type="regression")) as stack:
        with pytest.raises(TaskNotSupported, match="ClassifyAudio by labels in the request"):
            await classify(stack, SOUNDS[0], labels=["a fox"])
        with pytest.raises(InvalidArgument) as caught:
            await classify(stack, SOUNDS[0], hypothesis_template="a {}", multi_label=True, top_k=0)
        fields = [violation.field for violation in caught.value.violations]
        assert fields == ["top_k", "hypothesis_template", "multi_label"]
        with pytest.raises(TaskNotSupported):
            await stack.client.speech.embed_audio(pb.EmbedAudioRequest(recordings=[media(SOUNDS[0])]))
