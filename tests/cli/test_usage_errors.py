import pytest

from tests.cli.conftest import Invoke
from tests.client.fake import Fake


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vision", "classify-image", "/no/such.png"], "No such file"),
        (["text", "detokenize", "1,x"], "token ids"),
        (["text", "tokenize", "--request", "{]"], "not JSON"),
        (["text", "tokenize", "--request", '{"nope": 1}'], "nope"),
        (["text", "tokenize", "--request", "[" * 100_000], "not JSON"),
        (["text", "tokenize", "--request", "\udcff"], "not JSON"),
        (["text", "tokenize", "--request", "{} {}"], "One request"),
        (["text", "tokenize", "--request", "[1]"], "JSON object"),
        (["text", "generate", "x", "--logit-bias", "-5"], "logit"),
        (["text", "generate", "x", "--stop-token-ids", "99999999999"], "--stop-token-ids"),
        (["text", "tokenize", "\udcff"], "TEXTS"),
        (["text", "tokenize", "--request", "@/no/such.json"], "for --request: /no/such.json: No such file"),
        (["text", "tokenize", "--request-id", "ü"], "ASCII"),
        (["text", "generate", "x", "--seed", "99999999999999999999"], "out of range"),
        (["text", "generate", "x", "--early-stopping", "nope"], "nope"),
        (["text", "tokenize", "a", "--timeout", "-1"], "positive"),
        (["text", "tokenize", "a", "--timeout", "nan"], "positive"),
        (["text", "tokenize", "a", "--model", "\udcff"], "UTF-8"),
        (["text", "tokenize", "a", "--ca-file", "/no/such.pem"], "for --ca-file: /no/such.pem: No such file"),
        (["text", "tokenize", "a", "--ca-file", __file__], "There is no certificate in PEM in"),
        (["speech", "stream-transcribe", "/no/such.raw"], "No such file"),
        (["speech", "stream-transcribe", "/"], "Is a directory"),
        (["speech", "stream-transcribe"], "for AUDIO: A file is needed"),
        (
            ["speech", "stream-transcribe", "models/transcriber/held_out/00.ogg"],
            "`sensorium speech transcribe` takes it",
        ),
        (["models", "list", "--target", "http://127.0.0.1:50050"], "without http://"),
        (["text", "tokenize", "a", "--cert-file", "/no/such.pem", "--key-file", "/no/such.key"], "/no/such."),
        (["text", "tokenize", "a", "--cert-file", "/no/such.pem"], "both --cert-file and --key-file"),
        (["text", "tokenize", "a", "--server-name", "gateway"], "needs --tls"),
        (["top", "--key-file", "/no/such.key"], "both --cert-file and --key-file"),
        (["text", "tokenize", "a", "--target", "gateway:1", "--token", "t"], "clear text"),
        (["speech", "synthesize", "a", "--output", "/no/such/file"], "No such file"),
        (["text", "nope"], "No such command"),
        (["nope"], "No such command 'nope'."),
        (["classify-image", "x.png"], "Did you mean 'vision classify-image'?"),
        (["generate", "x"], "Did you mean 'text generate' or 'multimodal generate'?"),
    ],
)
def test_wrong_usage_exits_with_2(fake: Fake, invoke: Invoke, arguments: list[str], said: str) -> None:
    from sensorium.v1 import common_pb2, speech_pb2

    audio = speech_pb2.SynthesizeResponse(audio=common_pb2.Media(data=b"x"))
    fake.answers["SpeechService/Synthesize"] = lambda request, context: audio
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
