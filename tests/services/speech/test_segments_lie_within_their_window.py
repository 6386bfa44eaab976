from math import inf, nan

import pytest

from services.engine.dictation.manner import Part, Written
from services.speech.dictation.dictation_course import Candidate, Span


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (0.5, 1.0, (30.5, 31.0)),
        (0.5, 0.2, (30.5, 30.5)),
        (-5.0, 1.0, (30.0, 31.0)),
        (nan, nan, (30.0, 30.0)),
        (9.0, inf, (39.0, 42.0)),
        (13.0, 14.0, (42.0, 42.0)),
    ],
)
def test_any_times_of_a_model_are_clipped_to_the_window(start: float, end: float, wanted: tuple[float, float]) -> None:
    candidate = Candidate(Written("One.", parts=[Part("One.", start, end)]), [])
    (segment,) = candidate.segments(Span(30, 42))
    assert (segment.start, segment.end) == wanted
