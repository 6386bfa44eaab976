"""Sequences without a stream, for the parts of the engine that never look at it."""

from typing import Any

from services.engine.generation.group import SequenceGroup
from services.engine.generation.sequence import Sequence
from tests.services.bench import outputs_of, request


def sequence(prompt: list[int], generated: list[int] | None = None, *, arrival: float = 0.0, **fields: Any) -> Sequence:
    """Returns a sequence that has generated some tokens; `fields` are those of `request`."""
    asked = request(prompt, **fields)
    group = SequenceGroup(asked, tuple(outputs_of(asked)), stream=None, arrival=arrival)  # type: ignore[arg-type]
    made = group.open()
    assert made is not None
    made.token_ids += generated or []
    return made
