import pytest

from benchmarks.gpu.paced import rate_of
from benchmarks.text.sample import RequestSample
from benchmarks.text.statistics import MeasuredWrong


def test_tokens_count_behind_the_first_message_that_came_while_all_decoded() -> None:
    early = [0.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0]  # of which those behind 2.0 count, in 2 s
    late = [1.5, 1.5, 2.5, 3.5]  # two in 2 s
    assert rate_of([RequestSample(0.0, early), RequestSample(0.0, late)]) == pytest.approx(3 / 2 + 2 / 2)


def test_streams_that_did_not_decode_together_have_no_rate() -> None:
    assert rate_of([RequestSample(0.0, [0.0, 1.0, 2.0]), RequestSample(0.0, [2.0, 3.0])]) == 0


def test_a_request_that_failed_is_no_rate() -> None:
    with pytest.raises(MeasuredWrong, match="queue full"):
        rate_of([RequestSample(0.0, [1.0, 2.0]), RequestSample(0.0, error="queue full")])
