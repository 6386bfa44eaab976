import pytest

from sensorium.v1 import models_pb2
from services.served_model import ServedModel
from services.text.servicer import TextServicer
from services.text.verb_set import TextVerbs
from tests.services.text.fakes import FakeGenerator, FakeTokenizer


@pytest.fixture
def served() -> ServedModel:
    served = ServedModel("tiny")
    served.info.identity.revision = "r1"
    served.enter(models_pb2.MODEL_STATE_READY)
    return served


@pytest.fixture
def generator() -> FakeGenerator:
    return FakeGenerator()


@pytest.fixture
def tokenizer_verb() -> FakeTokenizer:
    return FakeTokenizer()


@pytest.fixture
def servicer(served: ServedModel, generator: FakeGenerator, tokenizer_verb: FakeTokenizer) -> TextServicer:
    servicer = TextServicer(served)
    servicer.verbs = TextVerbs(tokenizer_verb, generator)
    return servicer
