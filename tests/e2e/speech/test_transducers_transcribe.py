"""Transcribe by transducers (TDT, RNN-T), against transformers' own `generate`."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoFeatureExtractor, AutoModelForRNNT, AutoModelForTDT, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from services.engine.audio import transducer
from services.engine.audio.windows import windows
from tests.e2e.live_audio import AUDIO, events_of, finals, requests
from tests.e2e.stack import speech_stack
from tests.sounds import RATE, Samples, media, sound
from tests.tiny.transducers import write_transducer

pytestmark = pytest.mark.skipif(
    "canary" not in CONFIG_MAPPING, reason="transformers 5.17 makes Parakeet's features by librosa"
)
SOUNDS = [sound(seconds, seed) for seed, seconds in enumerate((1.5, 0.4, 2.0, 1.0))]
KINDS = ["parakeet_tdt", "parakeet_rnnt", "nemotron_asr_streaming", "nemotron3_5_asr"]
FRAME = 0.04
"""Seconds."""
Emission = tuple[int, int, int]
"""A token, its first frame, and the frame after its last."""


class Reference:
    """The model, called by hand."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.timed = kind == "parakeet_tdt"
        self.model: Any = (AutoModelForTDT if self.timed else AutoModelForRNNT).from_pretrained(folder).eval()
        self.extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def read(self, samples: Samples) -> list[Emission]:
        """Returns the emitted tokens with their frames."""
        inputs = self.extractor(samples, sampling_rate=RATE, return_tensors="pt")
        output = self.model.generate(**inputs, max_new_tokens=1000)
        tokens, durations = output.sequences[0].tolist()[1:], output.durations[0].tolist()[1:]
        places = [0, *np.cumsum(durations).tolist()]
        written = zip(tokens, places, durations, strict=False)
        blank = self.model.config.blank_token_id
        spans = ((token, place, place + (span if self.timed else 1)) for token, place, span in written)
        return [span for span in spans if span[0] != blank]

    def text(self, written: list[Emission]) -> str:
        tokens = [token for token, *_ in written]
        return self.tokenizer.decode(tokens, group_tokens=False, skip_special_tokens=True).strip()

    def words(self, written: list[Emission], seconds: float) -> list[tuple[str, float, float]]:
        groups: list[list[Emission]] = []
        for each in written:
            if not groups or self.tokenizer.convert_ids_to_tokens(each[0]).startswith("▁"):
                groups.append([])
            groups[-1].append(each)
        spans = ((self.text(group), group[0][1] * FRAME, group[-1][2] * FRAME) for group in groups)
        timed = ((text, min(start, seconds), min(end, seconds)) for text, start, end in spans)
        return [word for word in timed if word[0]]


def told(transcript: pb.Transcript) -> list[tuple[str, float, float]]:
    words = [word for segment in transcript.segments for word in segment.words]
    return [(word.text, word.start.ToNanoseconds() / 1e9, word.end.ToNanoseconds() / 1e9) for word in words]


@pytest.mark.parametrize("kind", KINDS)
async def test_texts_and_times_are_the_models_own_in_company(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transducer, "_STEPS", 3)  # so that searches take several turns
    reference = Reference(write_transducer(tmp_path, kind), kind)
    asked = [pb.TranscribeRequest(audio=media(each), word_times=True) for each in SOUNDS]
    async with speech_stack(tmp_path, batch_wait_ms=200) as stack:
        answers = await asyncio.gather(*map(stack.client.speech.transcribe, asked))
        assert stack.service.metric("sensorium_engine_steps_total") > 5
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
    assert list(info.tasks) == [models.TASK_TRANSCRIBE, models.TASK_STREAM_TRANSCRIBE]
    for samples, answer in zip(SOUNDS, answers, strict=True):
        (transcript,) = answer.transcripts
        written = reference.read(samples)
        assert transcript.text == reference.text(written) != ""
        wanted = reference.words(written, len(samples) / RATE)
        assert [text for text, *_ in told(transcript)] == [text for text, *_ in wanted]
        np.testing.assert_allclose([times for _, *times in told(transcript)], [times for _, *times in wanted])
        assert 0 < transcript.confidence <= 1


async def test_windows_answer_for_their_own_frames(tmp_path: Path) -> None:
    reference = Reference(write_transducer(tmp_path, "parakeet_rnnt"), "parakeet_rnnt")
    samples, written = sound(7.3, 7), list[Emission]()
    frame = round(FRAME * RATE)
    for window in windows(len(samples), 50 * frame, 8 * frame):
        first, end = window.start // frame, window.stop // frame
        own = range(first + window.left // frame, end - window.right // frame + (not window.right))
        found = reference.read(samples[window.start : window.stop])
        written += [(token, first + a, first + b) for token, a, b in found if first + a in own]
    async with speech_stack(tmp_path, window_seconds=2) as stack:
        request = pb.TranscribeRequest(audio=media(samples), word_times=True)
        (transcript,) = (await stack.client.speech.transcribe(request)).transcripts
    assert transcript.text == reference.text(written)
    wanted = reference.words(written, 7.3)
    np.testing.assert_allclose([times for _, *times in told(transcript)], [times for _, *times in wanted])


async def test_live_audio_is_read_as_a_recording_is(tmp_path: Path) -> None:
    write_transducer(tmp_path, "parakeet_rnnt")
    async with speech_stack(tmp_path, context_seconds=0) as stack:
        results = finals(await events_of(stack.client, requests(AUDIO, word_times=True)))
    assert len(results) == 2
    for result in results:
        assert " ".join(word.text for word in result.words) == result.text != ""


async def test_what_does_not_apply_is_refused_all_at_once(tmp_path: Path) -> None:
    write_transducer(tmp_path, "nemotron3_5_asr")
    async with speech_stack(tmp_path) as stack:
        with pytest.raises(InvalidArgument) as caught:
            await stack.client.speech.transcribe(
                pb.TranscribeRequest(
                    audio=media(SOUNDS[0]),
                    language="de",
                    prompt="Hi",
                    transcript_count=3,
                    parameters=common.GenerationParameters(temperature=0),
                )
            )
    assert [each.field for each in caught.value.violations] == ["language", "prompt", "transcript_count", "parameters"]
