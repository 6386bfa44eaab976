import pytest

from benchmarks.autoscale.fleet import Fleet, Starting
from benchmarks.autoscale.policy import Activation
from benchmarks.autoscale.replica import Pace, Replica
from benchmarks.autoscale.scaler import ByLoad, Fixed, Scaler
from benchmarks.autoscale.simulation import Outcome, Patience, Simulation
from benchmarks.autoscale.trace import Arrival, Trace
from tests.benchmarks.autoscale.policies import policy

PACE = Pace(concurrency=4, alone=100, full=40)
EXACT = Starting(node=10, weights=20, jitter=0)
PATIENCE = Patience(queue=15, cold=100)


def ran(scaler: Scaler, arrivals: list[Arrival], seconds: float, starting: Starting = EXACT) -> Outcome:
    return Simulation(Fleet(PACE, starting, seed=0), scaler, PATIENCE).run(arrivals, seconds)


@pytest.mark.parametrize("seed", range(3))
def test_no_request_is_lost_or_counted_twice(seed: int) -> None:
    trace = Trace(seed, peak=6, hours=1, bursts=2)
    scaler = ByLoad(policy(target=2.8, minimum=0, maximum=6, activation=Activation(15, 60, 0)))
    for seconds in (600.0, trace.seconds):
        arrivals = [arrival for arrival in trace.arrivals if arrival.time < seconds]
        outcome = ran(scaler, arrivals, seconds)
        assert outcome.arrived == len(arrivals)
        assert outcome.arrived == outcome.finished + outcome.taken + outcome.expired + outcome.queued
        assert outcome.finished <= len(outcome.waits) <= outcome.finished + outcome.taken
    assert outcome.expired


def test_the_same_seed_gives_the_same_day() -> None:
    days = [
        ran(ByLoad(policy(target=2.8, maximum=6)), Trace(seed, peak=1, hours=1).arrivals, 3600, Starting())
        for seed in (1, 1, 2)
    ]
    assert days[0] == days[1] != days[2]


def test_streams_share_a_replica_by_its_pace() -> None:
    replica = Replica(0, 0, PACE)
    first, second = Arrival(0, 200), Arrival(1, 200)
    assert replica.take(0, first) == [first]
    assert replica.forecast(0) == pytest.approx(2)
    # A step of two takes a third of the way from 10 to 25 ms: 66.7 tokens per second each, for the 100 that are left.
    assert replica.take(1, second) == [second]
    assert replica.forecast(1) == pytest.approx(2.5)
    # The other one has 100 left and is alone.
    assert replica.end(2.5) == []
    assert replica.forecast(2.5) == pytest.approx(3.5)
    assert replica.end(3.5) == []
    assert replica.forecast(3.5) is None


def test_what_a_replica_is_given_beyond_its_streams_waits_there_and_no_replica_that_comes_helps() -> None:
    arrivals = [Arrival(at, 800) for at in (0, 0, 0, 0, 1, 2)]
    fleet = Fleet(PACE, EXACT, seed=0, room=5)
    outcome = Simulation(fleet, ByLoad(policy(target=4)), PATIENCE).run(arrivals, 60)
    # Four run until 20 s, the fifth waits behind them, and the sixth in the gateway expires at 17.
    assert [round(wait, 3) for _, wait in outcome.waits] == [0, 0, 0, 0, 19]
    assert outcome.expired == 1


def test_who_waits_longer_than_patience_expires_and_the_rest_keep_their_order() -> None:
    # Four streams of 800 tokens at 40 per second run for 20 s, and two more wait: one as long, one that came later.
    arrivals = [Arrival(at, 800) for at in (0, 0, 0, 0, 1, 8)]
    outcome = ran(Fixed(1), arrivals, 60)
    assert (outcome.finished, outcome.expired) == (5, 1)
    assert outcome.waits[-1] == (pytest.approx(20), pytest.approx(12))


def test_the_first_request_of_a_pool_of_none_waits_for_the_replica() -> None:
    scaler = ByLoad(policy(target=2.8, minimum=0, activation=Activation(poll=30, cooldown=60, threshold=0)))
    outcome = ran(scaler, [Arrival(200, 100)], 400)
    # It is scraped at 210, KEDA polls next at 225, and the pod takes 30 s: far beyond the patience of a warm pool.
    assert outcome.waits == [(pytest.approx(255), pytest.approx(55))]
    assert outcome.expired == 0
    by_minute = {sample.time: sample.replicas for sample in outcome.samples}
    assert [by_minute[at] for at in (0.0, 120.0, 240.0, 360.0)] == [1, 0, 1, 0]


def test_a_replica_that_leaves_finishes_its_streams_and_costs_until_then() -> None:
    fleet = Fleet(PACE, EXACT, seed=0)
    (first,) = fleet.scale(0, 1, at_once=True)
    (second,) = fleet.scale(0, 2)
    second.take(30, Arrival(30, 1000))
    fleet.scale(31, 1)
    assert fleet.ready(31) == [first]
    assert fleet.in_flight() == 1
    assert fleet.gpu_seconds(35) == pytest.approx(35 + 35)
    second.end(40)
    fleet.collect(40)
    assert fleet.gpu_seconds(50) == pytest.approx(50 + 40)
