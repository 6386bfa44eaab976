from types import SimpleNamespace

import pytest

from sensorium.errors import DeadlineExceeded, ModelNotReady, QueueFull
from services.engine import admission as module
from services.engine.admission import Admission, QueueLimits


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def paced(clock: Clock, seconds: float, starts: int = 10) -> Admission:
    """Returns an admission that has seen a queue from which one request started every so many seconds."""
    admission = Admission(QueueLimits(requests=4, tokens=100))
    admission.enter(1, None)
    for _ in range(starts):
        admission.enter(1, None)
        clock.now += seconds
        admission.leave(1, started=True)
    admission.leave(1, started=False)
    return admission


def test_requests_and_tokens_are_counted_in_and_out() -> None:
    admission = Admission(QueueLimits())
    admission.enter(10, None)
    admission.enter(5, None)
    assert (admission.requests, admission.tokens) == (2, 15)
    admission.leave(10, started=True)
    admission.leave(5, started=False)
    assert (admission.requests, admission.tokens) == (0, 0)


def test_one_request_too_many_is_refused_and_not_counted() -> None:
    admission = Admission(QueueLimits(requests=2))
    admission.enter(1, None)
    admission.enter(1, None)
    with pytest.raises(QueueFull) as refused:
        admission.enter(1, None)
    assert refused.value.metadata == {"queuedRequests": "2", "queuedTokens": "2"}
    assert admission.requests == 2


def test_tokens_too_many_are_refused_but_never_by_an_empty_queue() -> None:
    admission = Admission(QueueLimits(tokens=10))
    admission.enter(50, None)
    with pytest.raises(QueueFull):
        admission.enter(1, None)
    admission.leave(50, started=True)
    admission.enter(10, None)
    with pytest.raises(QueueFull):
        admission.enter(1, None)


def test_no_more_are_prepared_than_may_wait_and_the_place_is_given_back() -> None:
    admission = Admission(QueueLimits(requests=2))
    admission.enter(1, None)
    with admission.preparing(), pytest.raises(QueueFull, match="2 requests") as refused, admission.preparing():
        pass
    assert refused.value.metadata["queuedRequests"] == "2"
    with pytest.raises(ZeroDivisionError), admission.preparing():
        raise ZeroDivisionError
    with admission.preparing():
        pass


def test_an_estimate_is_the_pace_times_those_that_wait(clock: Clock) -> None:
    admission = paced(clock, 2.0)
    assert admission.expected_wait() == 0
    for waiting in range(1, 4):
        admission.enter(1, None)
        assert admission.expected_wait() == pytest.approx(2.0 * waiting, rel=0.15)


def test_a_queue_that_stands_still_raises_the_estimate(clock: Clock) -> None:
    admission = paced(clock, 0.5)
    admission.enter(1, None)
    before = admission.expected_wait()
    clock.now += 60
    assert admission.expected_wait() > before + 5


def test_a_quiet_hour_does_not_count_as_slowness(clock: Clock) -> None:
    admission = paced(clock, 0.01)
    clock.now += 3600
    admission.enter(1, None)
    admission.enter(1, clock.now + 1.0)
    assert admission.expected_wait() < 0.1


@pytest.mark.parametrize(("pace", "low", "high"), [(1e-6, 0.1, 0.1), (3.0, 8, 14), (3600.0, 60, 60)])
def test_a_refusal_says_when_to_come_back_within_bounds(clock: Clock, pace: float, low: float, high: float) -> None:
    admission = paced(clock, pace)
    for _ in range(4):
        admission.enter(1, None)
    with pytest.raises(QueueFull) as refused:
        admission.enter(1, None)
    assert refused.value.retry_after is not None
    assert low <= refused.value.retry_after <= high


def test_a_deadline_that_has_passed_or_cannot_be_met_is_refused(clock: Clock) -> None:
    admission = paced(clock, 10.0)
    with pytest.raises(DeadlineExceeded):
        admission.enter(1, clock.now - 0.001)
    admission.enter(1, clock.now + 0.001)  # nobody waits: its turn is now
    with pytest.raises(DeadlineExceeded) as refused:
        admission.enter(1, clock.now + 5)
    assert float(refused.value.metadata["expectedWaitSeconds"]) == pytest.approx(10, rel=0.15)
    admission.enter(1, clock.now + 30)
    assert admission.requests == 2


def test_a_closed_engine_takes_nobody() -> None:
    admission = Admission(QueueLimits())
    admission.closed = True
    with pytest.raises(ModelNotReady) as refused:
        admission.enter(1, None)
    assert refused.value.retry_after
