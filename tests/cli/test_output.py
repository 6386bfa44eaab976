import io
import wave
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from rich.console import Console

from sensorium.cli.failure import show
from sensorium.cli.models import print_models
from sensorium.cli.terminal import printable
from sensorium.cli.transcript import Transcript
from sensorium.errors import TaskNotSupported
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import speech_pb2, text_pb2, vision_pb2
from tests.cli.conftest import Invoke
from tests.client.events import STARTED, completed, delta, says
from tests.client.fake import Fake


def answering(message: Any) -> Any:
    return lambda request, context: message


def test_streamed_text_is_plain(fake: Fake, invoke: Invoke) -> None:
    fake.answers["TextService/StreamGenerate"] = says("Hel", "lo [bold]x[/bold]")
    done = invoke("text", "stream-generate", "Hi")
    assert (done.stdout, done.stderr) == ("Hello [bold]x[/bold]\n", "")


def test_further_candidates_follow_the_first(fake: Fake, invoke: Invoke) -> None:
    events = [STARTED, delta("a"), delta("x", 1), delta("b"), delta("y", 1), completed()]
    fake.answers["TextService/StreamGenerate"] = answering(events)
    assert invoke("text", "stream-generate", "Hi").stdout == "ab\n\n[1] xy\n"


def test_json_lines_parse_back(fake: Fake, invoke: Invoke) -> None:
    fake.answers["TextService/StreamGenerate"] = says("é", "\n")
    done = invoke("text", "stream-generate", "Hi", "--json")
    parsed = [json_format.Parse(line, text_pb2.StreamGenerateResponse()) for line in done.stdout.splitlines()]
    assert parsed == [STARTED, delta("é"), delta("\n"), completed()]


def test_a_json_response_is_one_line(fake: Fake, invoke: Invoke) -> None:
    response = text_pb2.DetokenizeResponse(texts=["a", "b"])
    fake.answers["TextService/Detokenize"] = answering(response)
    (line,) = invoke("text", "detokenize", "1", "--json").stdout.splitlines()
    assert json_format.Parse(line, text_pb2.DetokenizeResponse()) == response


def test_generated_text_stands_alone(fake: Fake, invoke: Invoke) -> None:
    response = text_pb2.GenerateResponse(candidates=[common.GeneratedCandidate(text="Hello [x]")], seed=4)
    fake.answers["TextService/Generate"] = answering(response)
    assert invoke("text", "generate", "Hi").stdout == "Hello [x]\n"


def test_tokens_are_a_table(fake: Fake, invoke: Invoke) -> None:
    token = text_pb2.TokenizeResponse.Token(id=0, piece="<s>", special=True)
    result = text_pb2.TokenizeResponse.TokenList(tokens=[token])
    fake.answers["TextService/Tokenize"] = answering(text_pb2.TokenizeResponse(results=[result]))
    title, heading, row = invoke("text", "tokenize", "a").stdout.splitlines()
    assert (title.split(), heading.split()) == (["results[0]"], ["id", "piece", "special"])
    assert row.split() == ["0", "<s>", "yes"]


def test_candidates_of_each_masked_place_are_a_table(fake: Fake, invoke: Invoke) -> None:
    kind = text_pb2.FillMaskResponse
    places = [
        kind.MaskedPlace(candidates=[kind.Candidate(token_id=5, text=text, score=0.5, filled_text=f"a {text}")])
        for text in ("dog", "[fox]")
    ]
    fake.answers["TextService/FillMask"] = answering(kind(results=[kind.MaskedPlaceList(places=places)]))
    lines = invoke("text", "fill-mask", "a [MASK]").stdout.splitlines()
    assert [lines[0].split(), lines[3].split()] == [["results[0][0]"], ["results[0][1]"]]
    assert lines[1].split() == ["token_id", "text", "score", "filled_text"]
    assert lines[5].split() == ["5", "[fox]", "0.5", "a", "[fox]"]


def test_no_answer_stands_below_the_answers(fake: Fake, invoke: Invoke) -> None:
    kind = text_pb2.AnswerQuestionResponse
    found = kind.Answer(text="Ada", score=0.25, start=0, end=3)
    fake.answers["TextService/AnswerQuestion"] = answering(kind(answers=[found], no_answer_score=0.125))
    lines = invoke("text", "answer-question", "who", "Ada did").stdout.splitlines()
    assert lines[2].split() == ["Ada", "0.25", "0", "3"]
    assert lines[3] == "no_answer_score: 0.125"


def test_boxes_show_their_zeros(fake: Fake, invoke: Invoke) -> None:
    kind = vision_pb2.DetectObjectsResponse
    found = kind.DetectedObject(label=common.LabelScore(label="cat", score=0.5), box=common.BoundingBox(x_max=3))
    response = kind(results=[kind.DetectedObjectList(objects=[found])])
    fake.answers["VisionService/DetectObjects"] = answering(response)
    title, heading, row = invoke("vision", "detect-objects", "https://example.com/cat.png").stdout.splitlines()
    assert title.split() == ["results[0]"]
    assert heading.split() == ["label", "score", "index", "x_min", "y_min", "x_max", "y_max"]
    assert row.split() == ["cat", "0.5", "0", "0", "0", "3", "0"]


def test_regions_are_a_table(fake: Fake, invoke: Invoke) -> None:
    kind = vision_pb2.SegmentImageResponse
    runs = vision_pb2.Mask(run_length=vision_pb2.RunLengthMask(run_lengths=[0, 5, 7]))
    first = kind.Segment(label="sky", label_index=0, box=common.BoundingBox(x_max=4), pixel_count=5, mask=runs)
    second = kind.Segment(label="cat", label_index=1, pixel_count=2)
    fake.answers["VisionService/SegmentImage"] = answering(kind(segments=[first, second]))
    done = invoke("vision", "segment-image", "https://example.com/cat.png").stdout.splitlines()
    assert done[1].split() == ["label", "label_index", "x_min", "y_min", "x_max", "y_max", "pixels", "mask"]
    assert done[2].split() == ["sky", "0", "0", "0", "4", "0", "5", "run_length=3", "runs"]
    assert done[3].split() == ["cat", "1", "2"]


def test_each_mask_is_a_file(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    kind = vision_pb2.SegmentImageResponse
    masks = [vision_pb2.Mask(png=data) for data in (b"first", b"second")]
    segments = [kind.Segment(label=f"cat {i}", pixel_count=3, mask=mask) for i, mask in enumerate(masks)]
    fake.answers["VisionService/SegmentImage"] = answering(kind(segments=segments))
    segment = ("vision", "segment-image", "https://example.com/cat.png", "--output")
    done = invoke(*segment, str(tmp_path / "masks.png"))
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"first", b"second"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks-0.png", "masks-1.png"]
    assert "cat 1" in done.stdout and "bytes" not in done.stdout
    assert "2 masks written beside" in done.stderr
    fake.answers["VisionService/SegmentImage"] = answering(kind(segments=[kind.Segment(label="cat", pixel_count=3)]))
    refused = invoke(*segment, str(tmp_path / "none.png"))
    assert refused.exit_code == 2 and "--mask-format png" in refused.stderr


def tiny(state: models.ModelState, detail: str = "") -> models.ModelInfo:
    return models.ModelInfo(
        identity=common.ModelIdentity(name="tiny", revision="0123456789abcdef"),
        state=state,
        state_detail=detail,
        tasks=[models.TASK_GENERATE_TEXT, models.TASK_TOKENIZE],
        limits=models.ModelLimits(context_token_count=2048),
        dtype="float32",
        device="cpu",
        endpoint_count=2,
    )


def test_models_are_a_table(fake: Fake, invoke: Invoke) -> None:
    listed = models.ListModelsResponse(
        models=[tiny(models.MODEL_STATE_READY), tiny(models.MODEL_STATE_FAILED, "No file.")]
    )
    fake.answers["ModelService/ListModels"] = answering(listed)
    heading, ready, failed = invoke("models", "list").stdout.splitlines()
    assert heading.split() == ["name", "revision", "state", "tasks", "dtype", "device", "context", "endpoints"]
    assert " ".join(ready.split()) == "tiny 0123456789ab ready generate-text, tokenize float32 cpu 2,048 2"
    assert "failed: No file." in failed


def test_one_model_is_told_in_full(fake: Fake, invoke: Invoke) -> None:
    info = tiny(models.MODEL_STATE_READY)
    info.parameter_count = 1_234_567
    info.rank_bytes.extend([3 << 20, 2 << 30])
    info.memory.weights_bytes, info.memory.steps_bytes = 1_234_567_890, 1_000
    info.memory.cache_token_count = 12_345
    info.response_format = "hermes"
    info.template_variables.extend(["enable_thinking", "x\x1b]0;y"])
    fake.answers["ModelService/GetModel"] = answering(models.GetModelResponse(model=info))
    told = invoke("models", "get", "tiny").stdout.splitlines()
    assert "model.state: ready" in told
    assert "model.response_format: hermes" in told
    assert "model.template_variables: enable_thinking, x]0;y" in told
    assert "model.limits.context_tokens: 2,048" in told
    assert "model.parameters: 1,234,567" in told
    assert "model.ranks: 3 MiB, 2,048 MiB" in told
    (memory,) = [line for line in told if line.startswith("model.memory: ")]
    assert "weights=1,177.4 MiB, steps=1,000 bytes, " in memory and memory.endswith(", cache_tokens=12,345")
    told_programs = json_format.Parse(invoke("models", "get", "tiny", "--json").stdout, models.GetModelResponse())
    assert told_programs.model == info


def test_vectors_are_counted_in_words(fake: Fake, invoke: Invoke) -> None:
    found = common.Embedding(values=[0.5] * 2000, vector_count=2, dimension_count=1000)
    fake.answers["TextService/Embed"] = answering(text_pb2.EmbedResponse(embeddings=[found]))
    _, heading, row = invoke("text", "embed", "a").stdout.splitlines()
    assert heading.split() == ["values", "vectors", "dimensions"]
    assert row.split()[-2:] == ["2", "1,000"]


def test_media_go_into_a_file(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    response = speech_pb2.SynthesizeResponse(audio=common.Media(mime_type="audio/wav", data=b"RIFF"))
    fake.answers["SpeechService/Synthesize"] = answering(response)
    done = invoke("speech", "synthesize", "Hi", "--output", str(tmp_path / "a.wav"))
    assert (done.exit_code, done.stdout, (tmp_path / "a.wav").read_bytes()) == (0, "", b"RIFF")
    done = invoke("speech", "synthesize", "Hi")
    assert "4 bytes of audio/wav" in done.stdout
    assert done.stderr == "Give --output FILE to keep the media.\n"


def test_what_explains_media_is_told_beside_them(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    response = vision_pb2.EstimateDepthResponse(
        png16=b"\x89PNG", scale=0.5, offset=2, usage=common.Usage(image_count=1)
    )
    fake.answers["VisionService/EstimateDepth"] = answering(response)
    done = invoke("vision", "estimate-depth", "https://example.com/cat.png", "-o", str(tmp_path / "depth.png"))
    assert done.stdout.splitlines() == ["scale: 0.5", "offset: 2"]
    assert (tmp_path / "depth.png").read_bytes() == b"\x89PNG"
    done = invoke("vision", "estimate-depth", "https://example.com/cat.png", "-o", "-")
    assert done.stdout_bytes == b"\x89PNG"
    assert "scale: 0.5" in done.stderr


def test_streamed_audio_goes_to_standard_output(fake: Fake, invoke: Invoke) -> None:
    pieces = [speech_pb2.SynthesisDelta(audio=audio) for audio in (b"\x00\x01", b"\xff")]
    events = [speech_pb2.StreamSynthesizeResponse(delta=piece) for piece in pieces]
    cut = speech_pb2.SynthesisCompleted(finish_reason=common.FINISH_REASON_MAX_NEW_TOKENS)
    end = speech_pb2.StreamSynthesizeResponse(completed=cut)
    fake.answers["SpeechService/StreamSynthesize"] = answering([*events, end])
    done = invoke("speech", "stream-synthesize", "Hi", "-o", "-")
    assert (done.stdout_bytes, done.stderr) == (b"\x00\x01\xff", "")
    assert "3 bytes" in invoke("speech", "stream-synthesize", "Hi").stderr
    transcript = Transcript(io.StringIO(), live=True, file=None)
    for ended, told in ((end, ["max-new-tokens"]), (speech_pb2.StreamSynthesizeResponse(completed={}), [])):
        transcript.take(ended)
        assert transcript.figures() == told


def test_streamed_audio_is_told_to_be_in_its_file(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    delta = speech_pb2.StreamSynthesizeResponse(delta=speech_pb2.SynthesisDelta(audio=b"\x00\x01\xff"))
    end = speech_pb2.StreamSynthesizeResponse(completed=speech_pb2.SynthesisCompleted())
    fake.answers["SpeechService/StreamSynthesize"] = answering([delta, end])
    done = invoke("speech", "stream-synthesize", "Hi", "-o", str(tmp_path / "said.raw"))
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"3 bytes of audio written to {tmp_path / 'said.raw'}\n"


def test_streamed_audio_for_a_wav_file_gets_its_head(fake: Fake, invoke: Invoke, tmp_path: Path) -> None:
    started = speech_pb2.SynthesisStarted(
        encoding=speech_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=8000, channel_count=1
    )
    pieces = [speech_pb2.SynthesisDelta(audio=audio) for audio in (b"\x00\x01", b"\xff\x00\x02\x00")]
    fake.answers["SpeechService/StreamSynthesize"] = answering(
        [
            speech_pb2.StreamSynthesizeResponse(started=started),
            *(speech_pb2.StreamSynthesizeResponse(delta=piece) for piece in pieces),
        ]
    )
    done = invoke("speech", "stream-synthesize", "Hi", "-o", str(tmp_path / "said.wav"))
    assert "BACKEND_LOST" in done.stderr and "written" not in done.stderr  # and what came is kept
    with wave.open(str(tmp_path / "said.wav"), "rb") as said:
        assert (said.getframerate(), said.getnchannels(), said.readframes(9)) == (8000, 1, b"\x00\x01\xff\x00\x02\x00")


def test_a_terminal_is_not_spoken_to() -> None:
    assert printable("a\x1b[31m\x9b\x07b\tc\n") == "a[31mb\tc\n"


def test_the_revisions_of_a_model_and_of_its_adapter_are_both_told() -> None:
    console = Console(file=io.StringIO(), width=200)
    assert isinstance(console.file, io.StringIO)
    info = models.ModelInfo(identity={"name": "bot", "revision": f"{'0123456789abcdef' * 2}+{'fedcba98' * 4}"})
    print_models(models.ListModelsResponse(models=[info]), console)
    assert " 0123456789ab+fedcba98fedc " in console.file.getvalue()


def test_a_server_does_not_speak_to_the_terminal_by_names_either() -> None:
    console = Console(file=io.StringIO(), width=200)
    assert isinstance(console.file, io.StringIO)
    said = "x\x1b]0;y"
    info = models.ModelInfo(identity={"name": said, "revision": said}, state_detail=said, dtype=said, device=said)
    print_models(models.ListModelsResponse(models=[info]), console)
    error = TaskNotSupported(said)
    error.request_id = said
    show(error, "here", console)
    assert console.file.getvalue().count("x]0;y") == 7
    assert "\x1b" not in console.file.getvalue()
