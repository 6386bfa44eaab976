"""Synthesize and StreamSynthesize through gateway and client, against transformers' models called by hand."""

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from safetensors.torch import save_file
from transformers import (
    AutoTokenizer,
    CsmForConditionalGeneration,
    CsmProcessor,
    MusicgenForConditionalGeneration,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    VitsModel,
)

from sensorium import InvalidArgument
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2 as pb
from sensorium.v1.common_pb2 import FINISH_REASON_END_OF_SEQUENCE, FINISH_REASON_MAX_NEW_TOKENS, Embedding
from services.engine.speech_synthesis.draws import key_of
from tests.e2e.stack import RunningStack, speech_stack
from tests.own_models import own
from tests.tiny.codec_speakers import CSM_LENGTHS, write_csm
from tests.tiny.speakers import WIDTH, write_musicgen, write_speecht5, write_vits

SENTENCES = ["The quick brown fox jumps.", "Over a lazy dog!", "What is it?"]
TEXT = " ".join(SENTENCES)
VOICE = [0.3, -1.0, 2.0, 0.1, 0.0, 1.0]
FLOAT32, LINEAR16 = pb.AUDIO_ENCODING_FLOAT32, pb.AUDIO_ENCODING_LINEAR16
ROUNDING = 3e-6
"""Tolerance between windows and the whole."""


def vits_by_hand(folder: Path, sentence: str, key: int, **options: Any) -> np.ndarray:
    model, tokenizer = own(VitsModel, folder), AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(key)
    with torch.inference_mode():
        return model(**tokenizer(sentence, return_tensors="pt"), **options).waveform[0].numpy()


def speecht5_by_hand(folder: Path, sentence: str, key: int, voice: list[float]) -> np.ndarray:
    model, tokenizer = own(SpeechT5ForTextToSpeech, folder), AutoTokenizer.from_pretrained(folder)
    vocoder = own(SpeechT5HifiGan, folder / "vocoder")
    ids = tokenizer(sentence, return_tensors="pt")["input_ids"]
    torch.manual_seed(key)
    return model.generate_speech(ids, torch.tensor([voice]), vocoder=vocoder).numpy()


class Streamed:
    """A stream that was read to its end."""

    def __init__(self, events: list[pb.StreamSynthesizeResponse]) -> None:
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds == ["started", *["delta"] * (len(events) - 2), "completed"]
        self.started, self.completed = events[0].started, events[-1].completed
        self.deltas = [event.delta for event in events[1:-1]]
        self.audio = b"".join(delta.audio for delta in self.deltas)


async def stream(stack: RunningStack, text: str = TEXT, **more: Any) -> Streamed:
    request = pb.StreamSynthesizeRequest(text=text, **more)
    return Streamed([event async for event in stack.client.speech.stream_synthesize(request)])


async def speak(stack: RunningStack, text: str = TEXT, **more: Any) -> pb.SynthesizeResponse:
    return await stack.client.speech.synthesize(pb.SynthesizeRequest(text=text, **more))


def floats(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<f4")


@pytest.mark.parametrize(
    ("config", "asked", "options"),
    [
        ({}, {}, {}),
        ({"num_speakers": 3}, {}, {"speaker_id": 0}),
        (
            {"num_speakers": 3},
            {"voice": "2", "speaking_rate": 1.5, "language": "en-GB"},
            {"speaker_id": 2, "speaking_rate": 1.5},
        ),
    ],
)
async def test_vits_says_what_the_model_says(
    tmp_path: Path, config: dict[str, Any], asked: dict[str, Any], options: dict[str, Any]
) -> None:
    folder = write_vits(tmp_path, **config)
    expected = [vits_by_hand(folder, each, key_of(11, i), **options) for i, each in enumerate(SENTENCES)]
    async with speech_stack(folder) as stack:
        found = await stream(stack, encoding=FLOAT32, seed=11, **asked)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
    np.testing.assert_allclose(floats(found.audio), np.concatenate(expected), atol=ROUNDING)
    assert len(found.deltas) > len(SENTENCES), "a sentence came in one piece"
    assert (found.started.seed, found.started.sample_rate_hertz, found.started.channel_count) == (11, 8000, 1)
    assert found.started.encoding == FLOAT32
    offsets = np.cumsum([0, *(len(delta.audio) // 4 for delta in found.deltas)])
    assert [delta.offset.ToMicroseconds() for delta in found.deltas] == [round(each * 125) for each in offsets[:-1]]
    usage, timing = found.completed.usage, found.completed.timing
    assert found.completed.finish_reason == FINISH_REASON_END_OF_SEQUENCE
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert usage.input_token_count == sum(len(tokenizer(each)["input_ids"]) for each in SENTENCES)
    assert usage.output_token_count == 0
    assert usage.audio_duration.ToMicroseconds() == offsets[-1] * 125
    assert timing.time_to_first_output.ToNanoseconds() > 0
    assert timing.total.ToNanoseconds() > timing.compute.ToNanoseconds() > 0
    assert timing.total.ToNanoseconds() > timing.time_to_first_output.ToNanoseconds()
    assert list(info.tasks) == [models.TASK_SYNTHESIZE]
    assert list(info.voices) == ([*"012"] if config else [])
    assert (list(info.languages), info.sample_rate_hertz, info.architecture) == (["en"], 8000, "VitsModel")


async def test_speecht5_says_what_the_model_says(tmp_path: Path) -> None:
    """With a speaker embedding in the request, and with voices that the operator named."""
    folder, voices = write_speecht5(tmp_path / "model"), tmp_path / "voices.safetensors"
    save_file({"bert": torch.tensor([VOICE]), "anna": torch.ones(WIDTH)}, voices)
    said = ["A?", "Ox."]
    expected = np.concatenate([speecht5_by_hand(folder, each, key_of(5, i), VOICE) for i, each in enumerate(said)])
    async with speech_stack(folder, voices=voices) as stack:
        asked: dict[str, Any] = {"text": " ".join(said), "encoding": FLOAT32, "seed": 5}
        found = await stream(stack, **asked, speaker_embedding=Embedding(values=VOICE))
        np.testing.assert_allclose(floats(found.audio), expected, atol=ROUNDING)
        assert len(found.deltas) > len(said)
        assert (await stream(stack, **asked, voice="bert")).audio == found.audio
        whole = await speak(stack, **asked, voice="bert")
        assert whole.finish_reason == found.completed.finish_reason == FINISH_REASON_MAX_NEW_TOKENS
        assert (await stream(stack, **asked)).audio == (await stream(stack, **asked, voice="anna")).audio != found.audio
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert (list(info.voices), list(info.languages), info.sample_rate_hertz) == (["anna", "bert"], [], 16_000)


async def test_musicgen_makes_the_sound_that_a_text_describes(tmp_path: Path) -> None:
    """The text is one description, and audio comes only at its end; others get turns meanwhile."""
    folder, text = write_musicgen(tmp_path, new_tokens=20), "Drums. And a flute!"
    model, tokenizer = (
        MusicgenForConditionalGeneration.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    torch.manual_seed(9)
    with torch.inference_mode():
        expected = model.generate(**tokenizer(text, return_tensors="pt"))[0, 0].numpy()
    async with speech_stack(folder) as stack:
        answers = await asyncio.gather(*(stream(stack, text, encoding=FLOAT32, seed=9 + i % 2) for i in range(4)))
        for i, found in enumerate(answers):
            assert len(found.deltas) == 1
            assert found.audio == answers[i % 2].audio
        np.testing.assert_allclose(floats(answers[0].audio), expected, atol=1e-6)
        words = "has 300 tokens, and the model reads at most 256"
        assert await violations(stack, text="zq" * 150, voice="x") == {
            "text": words,
            "voice": "is 'x'; the model has no voices by name",
        }


async def test_csm_speaks_a_text_in_one_voice(tmp_path: Path) -> None:
    """The second sentence has the voice of the first."""
    folder = write_csm(tmp_path, new_tokens=24)
    model, processor = CsmForConditionalGeneration.from_pretrained(folder).eval(), CsmProcessor.from_pretrained(folder)
    torch.manual_seed(key_of(4, 0))
    first = model.generate(**processor("[2]A?"), output_audio=True)[0]
    torch.manual_seed(key_of(4, 1))
    inputs = processor("[2]A?<|AUDIO|><|audio_eos|>[2]Ox.", audio=[first.numpy()], audio_kwargs=CSM_LENGTHS)
    expected = torch.cat((first, model.generate(**inputs, output_audio=True)[0]))
    async with speech_stack(folder) as stack:
        asked: dict[str, Any] = {"encoding": FLOAT32, "seed": 4, "voice": "2"}
        found, other = await asyncio.gather(*(stream(stack, "A? Ox.", **asked) for _ in range(2)))
        np.testing.assert_allclose(floats(found.audio), expected.numpy(), atol=ROUNDING)
        assert other.audio == found.audio
        assert len(found.deltas) > 2
        assert await violations(stack, text="hi", voice="10", speaking_rate=2.0) == {
            "voice": "is '10'; the model has the voices 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
            "speaking_rate": "must be 1 or absent: the model has only one speed",
        }


async def test_a_seed_is_heard_the_same_whole_or_streamed_alone_or_in_company(tmp_path: Path) -> None:
    async with speech_stack(write_vits(tmp_path, num_speakers=4)) as stack:
        asked = [
            {"text": TEXT[i:], "seed": i, "voice": str(i % 4), "speaking_rate": 0.8 + 0.1 * i, "encoding": LINEAR16}
            for i in range(3)
        ]
        alone = [(await stream(stack, **each)).audio for each in asked]
        together = await asyncio.gather(
            *(stream(stack, **each) for each in asked), *(speak(stack, **each) for each in asked)
        )
        for i, audio in enumerate(alone):
            assert together[i].audio == audio
            assert together[i + len(alone)].audio.data == audio
        assert len({*alone}) == len(alone)
        unseeded = [await stream(stack) for _ in range(2)]
        assert unseeded[0].started.seed != unseeded[1].started.seed
        assert (await stream(stack, seed=unseeded[0].started.seed)).audio == unseeded[0].audio != unseeded[1].audio


async def test_audio_is_written_as_asked(tmp_path: Path) -> None:
    """At the model's rate and others, in every encoding; resampled streams have no seams."""
    async with speech_stack(write_vits(tmp_path)) as stack:
        asked = {"text": SENTENCES[2], "seed": 1}
        spoken = floats((await stream(stack, **asked, encoding=FLOAT32)).audio)
        for rate in (8000, 24_000):
            expected = soxr.resample(spoken, 8000, rate, "HQ")
            found = await stream(stack, **asked, encoding=FLOAT32, sample_rate_hertz=rate)
            assert found.started.sample_rate_hertz == rate
            np.testing.assert_allclose(floats(found.audio), np.clip(expected, -1, 1), atol=1e-6)
            for encoding, kind in ((0, "wav"), (5, "wav"), (6, "flac"), (7, "ogg"), (8, "mpeg")):
                whole = await speak(stack, **asked, encoding=encoding, sample_rate_hertz=rate)
                assert (whole.audio.mime_type, whole.encoding) == (f"audio/{kind}", encoding or pb.AUDIO_ENCODING_WAV)
                samples, written = soundfile.read(BytesIO(whole.audio.data))
                assert (whole.sample_rate_hertz, written, len(samples)) == (rate, rate, len(expected))
                assert whole.usage.audio_duration.ToMicroseconds() == round(len(expected) * 1e6 / rate)
                if encoding <= pb.AUDIO_ENCODING_FLAC:
                    np.testing.assert_allclose(samples, np.clip(expected, -1, 1), atol=1e-4)
        telephone = await speak(stack, **asked, encoding=pb.AUDIO_ENCODING_MULAW)
        assert telephone.audio.mime_type == "audio/pcmu;rate=8000;channels=1"
        assert telephone.timing.time_to_first_output == telephone.timing.total


async def violations(stack: RunningStack, *, streamed: bool = False, **request: Any) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        await (stream(stack, **request) if streamed else speak(stack, **request))
    return {violation.field: violation.description for violation in caught.value.violations}


async def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    async with speech_stack(write_vits(tmp_path / "vits", num_speakers=3), text_characters=50) as stack:
        assert await violations(
            stack, streamed=True, text="", voice="anna", language="de", speaking_rate=5, encoding=pb.AUDIO_ENCODING_WAV,
            sample_rate_hertz=7999, seed=-1,
        ) == {
            "text": "must not be empty",
            "voice": "is 'anna'; the model has the voices 0, 1, 2",
            "language": "is 'de'; the model knows eng",
            "speaking_rate": "must be in [0.25, 4], not 5",
            "encoding": "must be one of LINEAR16, FLOAT32, MULAW, ALAW in a stream, not WAV",
            "sample_rate_hertz": "must be in [8000, 48000], not 7999",
            "seed": "must not be negative, not -1",
        }  # fmt: skip
        assert await violations(stack, text="日本 123 …") == {"text": "holds nothing that the model can say"}
        assert await violations(stack, text="a" * 51) == {"text": "has 51 characters, and at most 50 are said at once"}
        assert await violations(stack, encoding=99, text="a") == {
            "encoding": "has the unknown value 99 of AudioEncoding"
        }
        assert await violations(stack, text="a", speaker_embedding=Embedding(values=[1.0])) == {
            "speaker_embedding": "must not be set: the model takes none"
        }
        assert await violations(
            stack, text="a", speaking_rate=float("nan"), encoding=pb.AUDIO_ENCODING_OGG_OPUS, sample_rate_hertz=8001
        ) == {
            "speaking_rate": "must be in [0.25, 4], not nan",
            "sample_rate_hertz": "must be 8000, 12000, 16000, 24000 or 48000 in OGG_OPUS, not 8001",
        }


async def test_options_that_a_speaker_embedding_model_does_not_take_are_refused(tmp_path: Path) -> None:
    async with speech_stack(write_speecht5(tmp_path / "speecht5")) as stack:
        assert await violations(stack, text="a fox", speaking_rate=1.5, language="en") == {
            "speaker_embedding": f"must be set: the model has no voice of its own and takes {WIDTH} numbers",
            "speaking_rate": "must be 1 or absent: the model has only one speed",
            "language": "must be empty: the model has one, and its files do not name it",
        }
        assert await violations(stack, text="a fox", voice="1") == {"voice": "is '1'; the model has no voices by name"}
        for embedding, words in (
            (Embedding(values=VOICE[1:]), f"has 5 numbers; the model takes {WIDTH}"),
            (
                Embedding(values=[*VOICE, *VOICE], vector_count=2, dimension_count=WIDTH),
                "must be one vector: it says 2 of 6 and holds 12 numbers",
            ),
            (Embedding(values=[*VOICE[1:], float("inf")]), "must hold finite numbers that are not all 0"),
        ):
            assert await violations(stack, text="a fox", speaker_embedding=embedding) == {"speaker_embedding": words}
        assert await violations(stack, text="日本", speaker_embedding=Embedding(values=VOICE)) == {
            "text": "holds nothing that the model can say"
        }


async def test_audio_that_no_message_holds_is_refused_and_can_be_streamed(tmp_path: Path) -> None:
    text = "a quick brown fox jumps over the lazy dog. " * 5
    async with speech_stack(write_vits(tmp_path), message_bytes=20_000) as stack:
        (violation,) = (await violations(stack, text=text)).items()
        assert violation[0] == "text"
        assert violation[1].startswith("takes more than the 15904 bytes that a message holds as audio")
        assert len((await stream(stack, text=text)).audio) > 20_000
