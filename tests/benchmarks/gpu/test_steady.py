import pytest

from benchmarks.gpu.steady import Steady, steady


def messages(first: float, step: float, sizes: list[int]) -> list[float]:
    """Returns the arrival times of tokens that are made every `step` seconds and sent so many together."""
    return [first + step * (sum(sizes[: i + 1]) - 1) for i, size in enumerate(sizes) for _ in range(size)]


def test_tokens_count_while_all_rows_decode() -> None:
    early, late = [0.0, 1.0, 2.0, 3.0, 4.0], [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    assert steady([early, late]) == Steady(1.0 + 2.0, pytest.approx((3 + 4 + 1 + 2 + 3 + 4) / 6))


def test_tokens_that_share_messages_come_as_fast_as_those_that_do_not() -> None:
    step = 0.001
    # The last messages come one behind the other, each from the moment at which its tokens were made.
    shared = [messages(step + 1e-5 * row, step, [1, *[13] * 29, 6]) for row in range(32)]
    alone = [messages(step + 1e-5 * row, step, [1] * 384) for row in range(32)]
    assert steady(alone).tokens_per_second == pytest.approx(32 / step)
    assert steady(shared).tokens_per_second == pytest.approx(32 / step)


def test_there_is_no_rate_where_rows_do_not_decode_together() -> None:
    assert steady([[0.0, 1.0], [1.0, 2.0]]) == Steady()
    assert steady([[0.0, 0.5, 3.0], [1.0, 2.0, 3.0]]) == Steady()  # the first row has one message in that time
