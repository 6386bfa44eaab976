"""Makes sequences without a stream, for tests of engine parts that do not use the stream."""

from typing import Any

from services.engine.generation.group import SequenceGroup
from services.engine.generation.sequence import Sequence
from tests.services.bench import outputs_of, request


def sequence(prompt: list[int], generated: list[int] | None = None, *, arrival: float = 0.0, **fields: Any) -> Sequence:
    """Returns a sequence with some tokens already generated; `fields` are those of `bench.request`."""
    asked = request(prompt, **fields)
    group = SequenceGroup(asked, tuple(outputs_of(asked)), stream=None, arrival=arrival)  # type: ignore[arg-type]
    made = group.open()
    assert made is not None
    made.token_ids += generated or []
    return made
