"""Policies as a test needs them."""

from benchmarks.autoscale.policy import Activation, Direction, Policy, Rule

GONE_AT_ONCE = Direction(0, (Rule(True, 100, 15),), "Max")
AT_ONCE = Direction(0, (Rule(True, 1000, 15),), "Max")


def policy(
    *,
    target: float = 10,
    minimum: int = 1,
    maximum: int = 100,
    up: Direction = AT_ONCE,
    down: Direction = GONE_AT_ONCE,
    activation: Activation | None = None,
) -> Policy:
    return Policy("text", target, minimum, maximum, up, down, activation)
