"""Kubernetes' documentation, worked through: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale"""

import pytest

from benchmarks.autoscale.hpa import HorizontalAutoscaler
from benchmarks.autoscale.policy import Direction, Rule
from tests.benchmarks.autoscale.policies import policy

DEFAULT_UP = Direction(0, (Rule(True, 100, 15), Rule(False, 4, 15)), "Max")


@pytest.mark.parametrize(
    ("current", "metric", "wanted"),
    [
        (4, 80, 8),  # twice the target doubles
        (4, 20, 2),  # half of it halves
        (4, 41, 4),  # within a tenth nothing changes
        (10, 109, 10),
        (10, 111, 12),  # beyond it, the next whole one
        (10, 90, 10),
        (10, 89, 9),
        (4, 0, 1),
        (90, 5000, 100),
    ],
)
def test_replicas_follow_the_metric_by_its_ratio_to_the_target(current: int, metric: float, wanted: int) -> None:
    assert HorizontalAutoscaler(policy()).replicas(0, current, metric) == wanted


def test_by_default_it_doubles_or_adds_four_in_a_quarter_of_a_minute() -> None:
    scaler = HorizontalAutoscaler(policy(up=DEFAULT_UP))
    seen, current = [], 1
    for turn in range(5):
        current = scaler.replicas(turn * 15.0, current, 10_000)
        seen.append(current)
    assert seen == [5, 10, 20, 40, 80]


def test_of_two_rules_the_one_that_allows_more_holds() -> None:
    # The page's own example: from 80 towards 10, first 8 go, then 10 % of 72, which is rounded up to 8; below 40, four
    # at a time are more than 10 %.
    down = Direction(0, (Rule(False, 4, 60), Rule(True, 10, 60)), "Max")
    scaler = HorizontalAutoscaler(policy(down=down))
    seen, current = [], 80
    for turn in range(10):
        current = scaler.replicas(turn * 60.0, current, 100)
        seen.append(current)
    assert seen == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24]


def test_the_rule_that_allows_less_can_be_asked_for() -> None:
    down = Direction(0, (Rule(False, 5, 60), Rule(True, 10, 60)), "Min")
    assert HorizontalAutoscaler(policy(down=down)).replicas(0, 80, 100) == 75
    disabled = Direction(0, (Rule(True, 100, 15),), "Disabled")
    assert HorizontalAutoscaler(policy(down=disabled)).replicas(0, 80, 100) == 80


def test_what_changed_within_a_rules_period_counts() -> None:
    scaler = HorizontalAutoscaler(policy(up=Direction(0, (Rule(False, 2, 60),), "Max")))
    assert [scaler.replicas(now, current, 1000) for now, current in ((0, 1), (15, 3), (59, 3), (61, 3))] == [3, 3, 3, 5]


def test_it_goes_down_to_the_most_that_was_wanted_within_the_window() -> None:
    scaler = HorizontalAutoscaler(policy(down=Direction(300, (Rule(True, 100, 15),), "Max")))
    assert scaler.replicas(0, 10, 100) == 10
    assert scaler.replicas(15, 10, 70) == 10
    assert scaler.replicas(290, 10, 20) == 10
    assert scaler.replicas(301, 10, 20) == 7  # what was wanted at 0 is forgotten, what was at 15 is not
    assert scaler.replicas(316, 7, 20) == 2


def test_it_goes_up_to_the_least_that_was_wanted_within_the_window() -> None:
    scaler = HorizontalAutoscaler(policy(up=Direction(60, (Rule(True, 1000, 15),), "Max")))
    assert scaler.replicas(0, 2, 20) == 2
    assert scaler.replicas(15, 2, 100) == 2
    assert scaler.replicas(61, 2, 80) == 8
