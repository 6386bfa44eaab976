"""ClassifyAudio by labels in the request, and EmbedAudio, through gateway and client, against transformers."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel, AutoTokenizer, pipeline

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from tests.e2e.stack import RunningStack, speech_stack
from tests.sounds import RATE, Samples, media, sound
from tests.tiny.audio_models import write_audio_model, write_clap_model

LABELS = ["a dog", "rain", "a small bell"]
SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((0.4, 1.0, 0.9))]
TOLERANCE = 2e-5


async def classify(stack: RunningStack, *sounds: Samples, **more: Any) -> pb.ClassifyAudioResponse:
    return await stack.client.speech.classify_audio(pb.ClassifyAudioRequest(recordings=map(media, sounds), **more))


async def embed(stack: RunningStack, *sounds: Samples, **more: Any) -> pb.EmbedAudioResponse:
    return await stack.client.speech.embed_audio(pb.EmbedAudioRequest(recordings=map(media, sounds), **more))


@pytest.mark.parametrize("fusion", [False, True])
async def test_labels_of_the_request_are_scored_as_the_pipeline_scores_them(tmp_path: Path, fusion: bool) -> None:
    folder = write_clap_model(tmp_path / "clap", fusion=fusion)
    ask: Any = pipeline(
        "zero-shot-audio-classification", model=str(folder), tokenizer=AutoTokenizer.from_pretrained(folder),
        feature_extractor=AutoFeatureExtractor.from_pretrained(folder), dtype=torch.float32,
    )  # fmt: skip
    async with speech_stack(folder) as stack:
        together = await classify(stack, *SOUNDS, labels=LABELS)
        alone = await asyncio.gather(*(classify(stack, each, labels=LABELS) for each in SOUNDS))
        for samples, *answers in zip(SOUNDS, together.results, (one.results[0] for one in alone), strict=True):
            wanted = {each["label"]: each["score"] for each in ask(samples, candidate_labels=LABELS)}
            for answer in answers:
                assert [label.label for label in answer.labels] == list(wanted)
                np.testing.assert_allclose(
                    [label.score for label in answer.labels], list(wanted.values()), atol=TOLERANCE
                )
        # It reads the beginning of what is longer.
        long = await classify(stack, np.concatenate([SOUNDS[1], SOUNDS[0]]), labels=LABELS)
        for ours, theirs in zip(long.results[0].labels, together.results[1].labels, strict=True):
            assert (ours.label, ours.score) == (theirs.label, pytest.approx(theirs.score, abs=TOLERANCE))
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_ZERO_SHOT_CLASSIFY_AUDIO, models.TASK_EMBED_AUDIO]
        with pytest.raises(TaskNotSupported, match="ClassifyAudio without labels in the request"):
            await classify(stack, SOUNDS[0])
        with pytest.raises(InvalidArgument) as caught:
            await classify(stack, SOUNDS[0][:0], labels=["a", "", "a"], hypothesis_template="a", top_k=0)
        assert [violation.field for violation in caught.value.violations] == [
            "top_k", "hypothesis_template", "labels[1]", "labels[2]", "recordings[0]",
        ]  # fmt: skip


async def test_recordings_and_texts_lie_in_one_space(tmp_path: Path) -> None:
    folder = write_clap_model(tmp_path / "clap")
    model: Any = AutoModel.from_pretrained(folder).eval()
    extractor, tokenizer = AutoFeatureExtractor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    async with speech_stack(folder) as stack:
        answer = await embed(stack, *SOUNDS, texts=LABELS)
        short = await embed(stack, SOUNDS[0], dimension_count=5, normalize=False)
        with pytest.raises(InvalidArgument, match=r"texts\[0\]: must not be empty"):
            await embed(stack, texts=[""])
        with pytest.raises(InvalidArgument, match=r"dimension_count: must be in \[1, 24\], not 25"):
            await embed(stack, SOUNDS[0], dimension_count=25)
    with torch.inference_mode():
        audio = [
            model.get_audio_features(**extractor(each, sampling_rate=RATE, return_tensors="pt")).pooler_output[0]
            for each in SOUNDS
        ]
        texts = [model.get_text_features(**tokenizer(each, return_tensors="pt")).pooler_output[0] for each in LABELS]
    found = [np.array(each.values) for each in (*answer.audio_embeddings, *answer.text_embeddings)]
    np.testing.assert_allclose(found, torch.stack([*audio, *texts]).numpy(), atol=TOLERANCE)
    np.testing.assert_allclose(short.audio_embeddings[0].values, audio[0][:5].numpy(), atol=TOLERANCE)
    assert answer.usage.input_token_count > 0
    assert answer.usage.audio_duration.ToNanoseconds() == pytest.approx(2.3e9)


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-masked", "ast", "omniasr-encoder"])
async def test_models_of_audio_alone_give_the_mean_of_their_states(tmp_path: Path, name: str) -> None:
    """The mean of the hidden states, or the output of the model's own pooler."""
    folder = write_audio_model(tmp_path / name, name, AutoModel)
    model: Any = AutoModel.from_pretrained(folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    async with speech_stack(folder, task="embed", batch_wait_ms=50) as stack:
        answers = await asyncio.gather(*(embed(stack, each, normalize=False) for each in SOUNDS))
        with pytest.raises(InvalidArgument, match="texts: are embedded by models that compare audio with text"):
            await embed(stack, SOUNDS[0], texts=["a dog"])
    for samples, answer in zip(SOUNDS, answers, strict=True):
        with torch.inference_mode():
            output = model(**extractor(samples, sampling_rate=RATE, return_tensors="pt"))
        wanted = output.last_hidden_state.mean(1) if name != "ast" else output.pooler_output
        np.testing.assert_allclose(answer.audio_embeddings[0].values, wanted[0].numpy(), atol=1e-4, rtol=1e-4)
