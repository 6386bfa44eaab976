"""The scan finds the same fields as protobuf, in any order, and refuses what protobuf refuses."""

import random
import tracemalloc

import pytest
from google.protobuf.message import DecodeError

from gateway.relay.request import model_and_priority_of, model_of_config
from sensorium.errors import InvalidArgument
from sensorium.tasks import METHODS
from sensorium.v1 import speech_pb2, text_pb2

PRIORITY = text_pb2.StreamGenerateRequest.DESCRIPTOR.fields_by_name["priority"].number


def _fields(rng: random.Random) -> list[bytes]:
    request = text_pb2.StreamGenerateRequest(prompt="x" * rng.randrange(300), priority=rng.randrange(-10, 10))
    request.parameters.temperature = 0.5
    parts = [request.SerializeToString()]
    for _ in range(rng.randrange(4)):
        parts.append(
            text_pb2.StreamGenerateRequest(model=rng.choice(["", "tiny", "größer", "m" * 200])).SerializeToString()
        )
    parts.append(text_pb2.StreamGenerateRequest(cache_salt="\n\x05salt").SerializeToString())
    parts.append(bytes([13 << 3 | 5]) + rng.randbytes(4))  # an unknown fixed32
    parts.append(bytes([14 << 3 | 1]) + rng.randbytes(8))  # an unknown fixed64
    rng.shuffle(parts)
    return parts


@pytest.mark.parametrize("seed", range(50))
def test_finds_the_model_in_any_order_of_fields(seed: int):
    data = b"".join(_fields(random.Random(seed)))
    read = text_pb2.StreamGenerateRequest.FromString(data)
    assert model_and_priority_of(data, PRIORITY) == (read.model, read.priority)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_finds_the_model_in_every_request_of_the_contract(method):
    request = method.request_type()
    if method.request_is_stream:
        request.config.model = "tiny"
        assert model_of_config(request.SerializeToString()) == "tiny"
    else:
        request.model = "tiny"
        assert model_and_priority_of(request.SerializeToString(), 0) == ("tiny", 0)


def test_a_request_of_no_bytes_names_no_model():
    assert model_and_priority_of(b"", PRIORITY) == ("", 0)
    assert model_of_config(b"") == ""


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_protobuf_on_damaged_requests(seed: int):
    rng = random.Random(seed)
    for _ in range(300):
        data = bytearray(b"".join(_fields(rng)))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        _compare(bytes(data[: rng.randrange(len(data) + 1)]))


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_protobuf_on_random_bytes(seed: int):
    rng = random.Random(seed)
    for _ in range(1000):
        _compare(rng.randbytes(rng.randrange(24)))


def _compare(data: bytes) -> None:
    """Compares the scan with protobuf. In addition, it may refuse only groups, which proto3 does not have."""
    try:
        read = text_pb2.StreamGenerateRequest.FromString(data)
        expected = read.model, read.priority
    except DecodeError:
        expected = None
    try:
        found = model_and_priority_of(data, PRIORITY)
    except InvalidArgument:
        found = None
    if expected is not None and found is None:
        assert any(byte & 7 in (3, 4) for byte in data), data
    elif expected is not None:
        assert found == expected, data


def test_merges_several_configs_as_protobuf_does():
    parts = [
        speech_pb2.StreamTranscribeRequest(config=speech_pb2.StreamTranscribeConfig(model="first")),
        speech_pb2.StreamTranscribeRequest(config=speech_pb2.StreamTranscribeConfig(language="de")),
    ]
    data = b"".join(part.SerializeToString() for part in parts)
    assert model_of_config(data) == speech_pb2.StreamTranscribeRequest.FromString(data).config.model == "first"


def test_reads_a_long_payload_without_copying_it():
    data = text_pb2.TokenizeRequest(texts=["x" * 30_000_000], model="tiny").SerializeToString()
    tracemalloc.start()
    assert model_and_priority_of(data, PRIORITY) == ("tiny", 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000


def test_refuses_a_request_of_millions_of_fields():
    with pytest.raises(InvalidArgument):
        model_and_priority_of(b"\x10\x00" * 5_000_000, PRIORITY)


def test_refuses_many_configs_of_many_fields():
    config = b"\x10\x00" * 60
    with pytest.raises(InvalidArgument):
        model_of_config((b"\x0a\x78" + config) * 200)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",
        b"\x0a\x05ab",
        b"\x0a\x02\xff\xfe",
        b"\x00",
        b"\x80" * 11,
        b"\x0d\x00",
        b"\x09\x00",
        b"\x0b",
        b"\x0a\xff\xff\xff\xff\x0f",
    ],
)
def test_refuses_bytes_that_are_no_message(data: bytes):
    with pytest.raises(InvalidArgument):
        model_and_priority_of(data, PRIORITY)
