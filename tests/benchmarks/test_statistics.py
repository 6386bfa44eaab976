import pytest

from benchmarks.text.sample import RequestSample
from benchmarks.text.statistics import MeasuredWrong, check_counts, numbers, percentile, ratio, spread
from tests.benchmarks.samples import sample


def test_percentiles_lie_between_neighbours() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([1, 2, 3], 0) == 1
    assert percentile([1, 2, 3], 1) == 3
    assert percentile(range(101), 0.99) == 99
    assert percentile([7], 0.99) == 7


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1], 1.1), ([1], -0.1)])
def test_a_percentile_of_nothing_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_only_tokens_of_the_constant_time_count() -> None:
    samples = [sample(0.0, 1.0, 2.0, 3.0), sample(0.0, 1.5, 9.0)]
    assert numbers(samples, begin=0.0, end=4.0).tokens_per_second == 1.0


def test_first_token_and_pauses_are_in_milliseconds() -> None:
    found = numbers([sample(1.0, 1.25, 1.35, 1.45, 1.45)], begin=1.0, end=2.0)
    assert found.first_token_p50 == pytest.approx(250)
    assert found.inter_token_p50 == pytest.approx(100)
    assert found.inter_token_p99 == pytest.approx(100)


def test_tokens_that_come_in_one_piece_have_no_pause_between_them() -> None:
    found = numbers([sample(0.0, 1.0, 1.0, 1.0, 2.0)], begin=0.0, end=2.0)
    assert found.inter_token_p50 == 0
    assert found.inter_token_p99 == pytest.approx(980)


def test_a_failed_request_makes_no_number() -> None:
    with pytest.raises(MeasuredWrong, match="1 of 2 requests failed, the first by: gone"):
        numbers([sample(0.0, 1.0, 2.0), RequestSample(0.0, error="gone")], 0.0, 3.0)


def test_silence_makes_no_number() -> None:
    with pytest.raises(MeasuredWrong, match="too few tokens"):
        numbers([RequestSample(0.0)], 0.0, 3.0)


@pytest.mark.parametrize(("prompt", "output", "what"), [(66, 64, "prompt"), (64, 62, "output")])
def test_other_token_counts_than_meant_are_refused(prompt: int, output: int, what: str) -> None:
    arrivals = [index / 100 for index in range(output)]
    found = numbers([sample(0.0, *arrivals, prompt_tokens=prompt)], 0.0, 1.0)
    with pytest.raises(MeasuredWrong, match=what):
        check_counts(found, 64, 64)
    check_counts(found, prompt, output)


def test_a_spread_is_median_and_ends() -> None:
    assert vars(spread([3, 1, 2])) == {"median": 2, "lowest": 1, "highest": 3}


def test_ratios_are_taken_repeat_by_repeat() -> None:
    """The machine was twice as slow in the second: the ratio does not see it."""
    assert vars(ratio([200, 100], [100, 50])) == {"median": 2, "lowest": 2, "highest": 2}
