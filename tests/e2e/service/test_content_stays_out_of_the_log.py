"""Whatever a caller sends, and whatever is made of it, no line of the log quotes it: also where things go wrong."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import grpc
import pytest
import torch
from google.protobuf.message import Message
from transformers import AutoModel, AutoModelForAudioClassification, AutoModelForImageClassification

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as multimodal
from sensorium.v1 import speech_pb2 as speech
from sensorium.v1 import text_pb2 as text
from sensorium.v1 import vision_pb2 as vision
from services.engine.generation.running.runner import ModelRunner
from tests.e2e.conftest import Checkpoints
from tests.e2e.pictures import PICTURES, media
from tests.e2e.stack import RunningStack, multimodal_stack, running_stack, speech_stack, vision_stack
from tests.logged import logged
from tests.sounds import media as recording
from tests.sounds import sound
from tests.tiny import multimodal_models
from tests.tiny.audio_models import write_audio_model
from tests.tiny.encoders import write_encoder
from tests.tiny.speakers import write_vits
from tests.tiny.vision_models import write_vision_model
from tests.waiting import until

CANARY = "xylocarp"
DAMAGED = common.Media(mime_type=f"image/{CANARY}", data=CANARY.encode())
ELSEWHERE = common.Media(uri=f"http://{CANARY}/{CANARY}.png")
METADATA = (("authorization", CANARY), ("tracestate", f"a={CANARY}"))

Asked = Sequence[tuple[str, Message]]


def _texts() -> Asked:
    few = common.GenerationParameters(max_new_tokens=3)
    broken = common.GenerationParameters(structured_output=common.StructuredOutput(regex=f"({CANARY}"))
    chat = common.ChatPrompt(messages=[common.ChatMessage(role=common.ROLE_USER, content=CANARY)])
    return [
        ("TextService/Generate", text.GenerateRequest(prompt=CANARY, parameters=few)),
        ("TextService/StreamGenerate", text.StreamGenerateRequest(chat=chat, parameters=few)),
        ("TextService/Generate", text.GenerateRequest(prompt=CANARY, model=CANARY)),
        ("TextService/Generate", text.GenerateRequest(prompt=CANARY * 99, parameters=broken)),
        ("TextService/Translate", text.TranslateRequest(texts=[CANARY], target_language=CANARY)),
    ]


def _vectors() -> Asked:
    return [
        ("TextService/Embed", text.EmbedRequest(texts=[CANARY])),
        ("TextService/Embed", text.EmbedRequest(texts=[CANARY, CANARY * 99, ""])),
        ("TextService/Classify", text.ClassifyRequest(texts=[CANARY], labels=[CANARY])),
    ]


def _images() -> Asked:
    return [
        ("VisionService/ClassifyImage", vision.ClassifyImageRequest(images=[media(PICTURES[0])])),
        ("VisionService/ClassifyImage", vision.ClassifyImageRequest(images=[DAMAGED, ELSEWHERE])),
        ("VisionService/DetectObjects", vision.DetectObjectsRequest(images=[DAMAGED], labels=[CANARY])),
    ]


def _sounds() -> Asked:
    return [
        ("SpeechService/ClassifyAudio", speech.ClassifyAudioRequest(recordings=[recording(sound(0.5, 1))])),
        ("SpeechService/ClassifyAudio", speech.ClassifyAudioRequest(recordings=[DAMAGED, ELSEWHERE])),
    ]


def _speech() -> Asked:
    return [
        ("SpeechService/Synthesize", speech.SynthesizeRequest(text=CANARY)),
        ("SpeechService/StreamSynthesize", speech.StreamSynthesizeRequest(text=CANARY)),
        ("SpeechService/Synthesize", speech.SynthesizeRequest(text=CANARY, language=CANARY, voice=CANARY)),
    ]


def _conversations() -> Asked:
    def asking(image: common.Media) -> multimodal.MultimodalServiceGenerateRequest:
        parts = [multimodal.ContentPart(text=CANARY), multimodal.ContentPart(image=image)]
        message = multimodal.MultimodalMessage(role=common.ROLE_USER, parts=parts)
        few = common.GenerationParameters(max_new_tokens=3)
        whole = multimodal.MultimodalPrompt(messages=[message])
        return multimodal.MultimodalServiceGenerateRequest(prompt=whole, parameters=few)

    images = (media(PICTURES[0]), DAMAGED, ELSEWHERE)
    return [("MultimodalService/Generate", asking(image)) for image in images]


def _opened(name: str, folder: Path, checkpoints: Checkpoints) -> AbstractAsyncContextManager[RunningStack]:
    if name == "llama":
        return running_stack(checkpoints(name))
    if name == "bert":
        return running_stack(write_encoder(folder, name, AutoModel))
    if name == "vit":
        return vision_stack(write_vision_model(folder, name, AutoModelForImageClassification))
    if name == "ast":
        return speech_stack(write_audio_model(folder, name, AutoModelForAudioClassification))
    if name == "vits":
        return speech_stack(write_vits(folder))
    return multimodal_stack(multimodal_models.write_checkpoint(folder, name))


async def _ask(channel: grpc.aio.Channel, asked: Asked) -> None:
    """Sends requests one after the other. A single answer is read as a stream of one."""
    for method, request in asked:
        sent = request.SerializeToString()
        with suppress(grpc.aio.AioRpcError):
            async for _ in channel.unary_stream(f"/sensorium.v1.{method}")(sent, metadata=METADATA):
                pass


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("llama", _texts()),
        ("bert", _vectors()),
        ("vit", _images()),
        ("ast", _sounds()),
        ("vits", _speech()),
        ("llava", _conversations()),
    ],
)
async def test_no_line_quotes_what_was_sent(
    tmp_path: Path,
    checkpoints: Checkpoints,
    name: str,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"cannot read {CANARY}")

    async with _opened(name, tmp_path / name, checkpoints) as stack:
        capfd.readouterr()
        address = f"127.0.0.1:{stack.gateway.server.port}"
        with logged() as log:
            async with grpc.aio.insecure_channel(address) as channel:
                await _ask(channel, asked)
                with monkeypatch.context() as broken:
                    broken.setattr(torch.nn.Module, "__call__", fail)
                    broken.setattr(ModelRunner, "run", fail)  # a whole decoder is computed without its modules
                    await _ask(channel, asked)
                # By the gateway, and behind it; what no model there can do gets no further.
                await until(lambda: len(log.calls()) >= 4 * len(asked) - 4)
        assert {"OK", "INVALID_ARGUMENT", "INTERNAL"} <= {line["code"] for line in log.calls()}
        assert "builtins.RuntimeError" in log.text
        assert CANARY not in log.text + "".join(capfd.readouterr())
