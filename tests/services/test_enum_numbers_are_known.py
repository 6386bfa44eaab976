import tracemalloc

from sensorium.errors import Violation
from sensorium.v1.common_pb2 import ROLE_USER, GenerationParameters
from sensorium.v1.text_pb2 import GenerateRequest
from services.enums import unknown_enum_numbers


def test_unknown_numbers_are_named_at_any_depth() -> None:
    request = GenerateRequest()
    request.chat.messages.add(role=ROLE_USER)
    request.chat.messages.add(role=77)  # type: ignore[arg-type]
    (violation,) = unknown_enum_numbers(request)
    assert violation == Violation("chat.messages[1].role", "has the unknown value 77 of Role")


def test_texts_are_not_read() -> None:
    """A text is copied each time it is read: 32 MB take longer than all else before the model."""
    request = GenerateRequest(prompt="é" * (8 << 20), parameters=GenerationParameters(temperature=1))
    tracemalloc.start()
    try:
        assert not [*unknown_enum_numbers(request)]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
