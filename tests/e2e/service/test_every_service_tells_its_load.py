"""One board shows a mixed load: every service fills the same families of metrics, whatever its engine."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from transformers import AutoModel, AutoModelForAudioClassification, AutoModelForImageClassification

from sensorium.v1 import speech_pb2 as speech
from sensorium.v1 import text_pb2 as text
from sensorium.v1 import vision_pb2 as vision
from sensorium.v1.common_pb2 import GenerationParameters
from tests.e2e import conversations
from tests.e2e.conftest import Checkpoints
from tests.e2e.pictures import PICTURES, media
from tests.e2e.stack import RunningStack, multimodal_stack, running_stack, speech_stack, vision_stack
from tests.sounds import media as recording
from tests.sounds import sound
from tests.tiny import multimodal_models
from tests.tiny.audio_models import write_audio_model
from tests.tiny.encoders import write_encoder
from tests.tiny.speakers import write_vits
from tests.tiny.vision_models import write_vision_model
from tests.waiting import until

Open = Callable[[Path, Checkpoints], AbstractAsyncContextManager[RunningStack]]


def _generates(_: Path, checkpoints: Checkpoints) -> AbstractAsyncContextManager[RunningStack]:
    return running_stack(checkpoints("llama"))


def _embeds(folder: Path, _: Checkpoints) -> AbstractAsyncContextManager[RunningStack]:
    return running_stack(write_encoder(folder / "bert", "bert", AutoModel))


def _sees(folder: Path, _: Checkpoints) -> AbstractAsyncContextManager[RunningStack]:
    return vision_stack(write_vision_model(folder / "vit", "vit", AutoModelForImageClassification))


def _hears(folder: Path, _: Checkpoints) -> AbstractAsyncContextManager[RunningStack]:
    return speech_stack(write_audio_model(folder / "ast", "ast", AutoModelForAudioClassification))


def _speaks(folder: Path, _: Checkpoints) -> AbstractAsyncContextManager[RunningStack]:
    return speech_stack(write_vits(folder / "vits"))


def _converses(folder: Path, _: Checkpoints) -> AbstractAsyncContextManager[RunningStack]:
    return multimodal_stack(multimodal_models.write_checkpoint(folder / "llava", "llava"))


async def _generate(stack: RunningStack) -> text.GenerateResponse:
    few = GenerationParameters(max_new_tokens=3, ignore_eos=True)
    return await stack.client.text.generate(text.GenerateRequest(prompt="a", parameters=few))


async def _embed(stack: RunningStack) -> text.EmbedResponse:
    return await stack.client.text.embed(text.EmbedRequest(texts=["a", "b c"]))


async def _classify(stack: RunningStack) -> vision.ClassifyImageResponse:
    return await stack.client.vision.classify_image(vision.ClassifyImageRequest(images=map(media, PICTURES)))


async def _listen(stack: RunningStack) -> speech.ClassifyAudioResponse:
    asked = speech.ClassifyAudioRequest(recordings=[recording(sound(0.5, 1)), recording(sound(1.0, 2))])
    return await stack.client.speech.classify_audio(asked)


async def _speak(stack: RunningStack) -> speech.SynthesizeResponse:
    return await stack.client.speech.synthesize(speech.SynthesizeRequest(text="What is it?"))


async def _converse(stack: RunningStack) -> conversations.Read:
    picture = multimodal_models.picture(1)
    return await conversations.read(stack.client, conversations.request(picture, picture, "What is this?"))


@pytest.mark.parametrize(
    ("open_stack", "ask", "end"),
    [
        (_generates, _generate, "max_new_tokens"),
        (_embeds, _embed, "completed"),
        (_sees, _classify, "completed"),
        (_hears, _listen, "completed"),
        (_speaks, _speak, "completed"),
        (_converses, _converse, "max_new_tokens"),
    ],
)
async def test_every_service_tells_its_load(
    tmp_path: Path,
    checkpoints: Checkpoints,
    open_stack: Open,
    ask: Callable[[RunningStack], Awaitable[text.GenerateResponse]],
    end: str,
) -> None:
    async with open_stack(tmp_path, checkpoints) as stack:

        def engine(name: str, **labels: str) -> float:
            return stack.service.metric(f"sensorium_engine_{name}", **labels)

        registry = stack.service.service.registry
        assert registry.get_sample_value("sensorium_engine_requests_total", {"finish_reason": "error"}) == 0
        usage = (await ask(stack)).usage
        # The caller has its answer before all of this is counted.
        await until(lambda: engine("requests_total", finish_reason=end) == 1)
        await until(lambda: stack.service.metric("gen_ai_server_request_duration_seconds_count") == 1)
        await until(lambda: engine("requests_running") == 0)
        assert engine("batch_size_sum") >= engine("batch_size_count") == engine("steps_total") > 0
        assert engine("queue_seconds_count") == 1
        assert engine("prompt_tokens_total") == usage.input_token_count
        assert engine("requests_waiting") == engine("tokens_waiting") == 0
        await until(lambda: engine("images_total") == usage.image_count)
        heard = usage.audio_duration.ToNanoseconds() / 1e9
        direction = "output" if ask is _speak else "input"
        await until(lambda: engine("audio_seconds_total", direction=direction) == pytest.approx(heard))
        assert engine("real_time_factor_count") == bool(heard)
        assert engine("media_cache_queries_total") == 2 * engine("media_cache_hits_total") == 2 * (ask is _converse)
        assert engine("gpu_memory_bytes", kind="total") == 0
