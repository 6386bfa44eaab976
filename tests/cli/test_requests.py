import json
import time
import wave
from pathlib import Path
from typing import Any

import pytest

from sensorium.errors import InvalidArgument, Violation
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2, multimodal_pb2, speech_pb2, text_pb2, vision_pb2
from tests.cli.conftest import Invoke
from tests.client.events import says
from tests.client.fake import Fake

RESPONSES: dict[str, Any] = {
    "TextService/Generate": text_pb2.GenerateResponse(),
    "TextService/Tokenize": text_pb2.TokenizeResponse(),
    "TextService/Detokenize": text_pb2.DetokenizeResponse(),
    "TextService/Rerank": text_pb2.RerankResponse(),
    "VisionService/ClassifyImage": vision_pb2.ClassifyImageResponse(),
    "VisionService/SegmentImage": vision_pb2.SegmentImageResponse(),
    "SpeechService/Transcribe": speech_pb2.TranscribeResponse(),
    "MultimodalService/Generate": multimodal_pb2.MultimodalServiceGenerateResponse(),
    "ModelService/GetModel": models_pb2.GetModelResponse(),
    "ModelService/ListModels": models_pb2.ListModelsResponse(),
}


@pytest.fixture(autouse=True)
def answers(fake: Fake) -> None:
    for rpc, response in RESPONSES.items():
        fake.answers[rpc] = lambda request, context, response=response: response


def sent(fake: Fake, invoke: Invoke, *arguments: str, stdin: str | None = None) -> Any:
    done = invoke(*arguments, stdin=stdin)
    assert done.exit_code == 0, done.output
    return fake.seen[-1].request


def test_texts_are_arguments(fake: Fake, invoke: Invoke) -> None:
    assert sent(fake, invoke, "text", "tokenize", "a", "b").texts == ["a", "b"]


def test_absent_options_stay_absent(fake: Fake, invoke: Invoke) -> None:
    request = sent(fake, invoke, "text", "generate", "Hi", "--temperature", "0", "--no-skip-special-tokens")
    assert (
        request.parameters.ListFields()
        == common.GenerationParameters(temperature=0, skip_special_tokens=False).ListFields()
    )
    assert not sent(fake, invoke, "text", "generate", "Hi").HasField("parameters")


def test_options_reach_nested_fields(fake: Fake, invoke: Invoke) -> None:
    options = ["--beam-count", "4", "--early-stopping", "never", "--stop-strings", "a", "--stop-strings", "b"]
    parameters = sent(fake, invoke, "text", "generate", "Hi", *options, "--logit-bias", '{"5": -1.5}').parameters
    assert parameters.beam_search.beam_count == 4
    assert parameters.beam_search.early_stopping == common.BeamSearchParameters.EARLY_STOPPING_NEVER
    assert parameters.stop_strings == ["a", "b"]
    assert dict(parameters.logit_bias) == {5: -1.5}


def test_token_ids_are_numbers(fake: Fake, invoke: Invoke) -> None:
    request = sent(fake, invoke, "text", "detokenize", "1,2,3", "4")
    assert [list(ids.ids) for ids in request.sequences] == [[1, 2, 3], [4]]


def test_media_are_files_or_uris(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    image = tmp_path / "cat.jpg"  # a name that does not speak for the bytes
    image.write_bytes(b"png")
    request = sent(fake, invoke, "vision", "classify-image", str(image), "https://example.com/cat.png", "--top-k", "2")
    assert [medium.WhichOneof("source") for medium in request.images] == ["data", "uri"]
    assert (request.images[0].data, request.images[0].mime_type, request.top_k) == (b"png", "", 2)


def test_only_the_audio_is_an_argument(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"RIFF")
    request = sent(fake, invoke, "speech", "transcribe", str(audio), "--language", "de")
    assert (request.audio.data, request.language) == (b"RIFF", "de")


def test_enums_have_short_names(fake: Fake, invoke: Invoke) -> None:
    assert sent(fake, invoke, "models", "list", "--task", "embed-text").task == models_pb2.TASK_EMBED_TEXT


def test_a_model_is_gotten_by_name(fake: Fake, invoke: Invoke) -> None:
    assert sent(fake, invoke, "models", "get", "tiny").model == "tiny"


def test_the_prompt_comes_from_standard_input(fake: Fake, invoke: Invoke) -> None:
    assert sent(fake, invoke, "text", "generate", "-", stdin="From a pipe").prompt == "From a pipe"


def test_a_chat_has_roles(fake: Fake, invoke: Invoke) -> None:
    request = sent(fake, invoke, "text", "generate", "Hi", "--chat", "--system", "Be brief.")
    turns = [(message.role, message.content) for message in request.chat.messages]
    assert turns == [(common.ROLE_SYSTEM, "Be brief."), (common.ROLE_USER, "Hi")]
    assert sent(fake, invoke, "text", "generate", "Hi", "--chat").chat.messages[0].role == common.ROLE_USER


def test_a_multimodal_prompt_has_parts(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    image = tmp_path / "cat.png"
    image.write_bytes(b"png")
    request = sent(fake, invoke, "multimodal", "generate", "What?", "--image", str(image), "--system", "Be brief.")
    system, user = request.prompt.messages
    assert (system.role, system.parts[0].text) == (common.ROLE_SYSTEM, "Be brief.")
    assert [part.WhichOneof("part") for part in user.parts] == ["image", "text"]


@pytest.mark.parametrize("form", ["in place", "file", "standard input"])
def test_the_whole_request_can_be_json(fake: Fake, invoke: Invoke, tmp_path: Path, form: str) -> None:
    document = json.dumps({"query": "q", "documents": ["a"], "returnDocuments": True})
    (tmp_path / "request.json").write_text(document)
    given = {"in place": document, "file": f"@{tmp_path / 'request.json'}", "standard input": "-"}[form]
    request = sent(fake, invoke, "text", "rerank", "--request", given, "--top-n", "3", stdin=document)
    assert (request.query, request.documents, request.return_documents, request.top_n) == ("q", ["a"], True, 3)


def test_server_options_reach_the_call(fake: Fake, invoke: Invoke) -> None:
    options = ["--model", "tiny", "--request-id", "mine", "--token", "t", "--timeout", "9"]
    request = sent(fake, invoke, "text", "tokenize", "a", *options)
    assert request.model == "tiny"
    assert fake.seen[-1].metadata["x-request-id"] == "mine"
    assert fake.seen[-1].metadata["authorization"] == "Bearer t"


def wav(folder: Path, samples: int) -> Path:
    path = folder / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"ab" * samples)
    return path


def test_audio_can_be_sent_as_it_was_spoken(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    sizes: list[int] = []

    def hear(requests: Any, context: Any) -> Any:
        sizes.extend(len(request.audio) for request in requests)
        yield speech_pb2.StreamTranscribeResponse(completed=speech_pb2.TranscriptionCompleted())

    fake.answers["SpeechService/StreamTranscribe"] = hear
    began = time.monotonic()
    assert invoke("speech", "stream-transcribe", str(wav(tmp_path, 4000)), "--real-time").exit_code == 0
    assert time.monotonic() - began >= 0.5
    assert sizes == [0, *[1600] * 5]


def test_a_wav_file_is_streamed_as_samples(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    received: list[Any] = []

    def hear(requests: Any, context: Any) -> Any:
        received.extend(requests)
        yield speech_pb2.StreamTranscribeResponse(result=speech_pb2.TranscriptionResult(text="interim"))
        yield speech_pb2.StreamTranscribeResponse(result=speech_pb2.TranscriptionResult(text="hello", final=True))
        yield speech_pb2.StreamTranscribeResponse(completed=speech_pb2.TranscriptionCompleted())

    fake.answers["SpeechService/StreamTranscribe"] = hear
    path = wav(tmp_path, 20_000)
    done = invoke("speech", "stream-transcribe", str(path), "--language", "en")
    assert (done.exit_code, done.stdout) == (0, "hello\n")
    config = received[0].config
    assert (config.encoding, config.sample_rate_hertz, config.language) == (
        speech_pb2.AUDIO_ENCODING_LINEAR16, 8000, "en",
    )  # fmt: skip
    assert b"".join(request.audio for request in received[1:]) == b"ab" * 20_000
    assert len(received) > 2


def test_bare_samples_without_options_bring_an_empty_configuration(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    received: list[Any] = []

    def hear(requests: Any, context: Any) -> Any:
        received.extend(requests)
        raise InvalidArgument([Violation("config.encoding", "must be set")])

    fake.answers["SpeechService/StreamTranscribe"] = hear
    (tmp_path / "a.raw").write_bytes(b"ab")
    assert "config.encoding" in invoke("speech", "stream-transcribe", str(tmp_path / "a.raw")).stderr
    assert [request.WhichOneof("payload") for request in received] == ["config", "audio"]


def test_a_stream_takes_the_same_prompt(fake: Fake, invoke: Invoke) -> None:
    fake.answers["TextService/StreamGenerate"] = says("ok")
    request = sent(fake, invoke, "text", "stream-generate", "Hi", "--max-new-tokens", "3")
    assert (request.prompt, request.parameters.max_new_tokens) == ("Hi", 3)
