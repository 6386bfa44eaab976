"""The order of a line by itself: tenants are charged by what their calls turn out to cost."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.admission.ask import Ask
from gateway.admission.line import Line, Ticket
from gateway.admission.shares import Shares


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def _served(loop: asyncio.AbstractEventLoop, costs: dict[str, float], turns: int) -> dict[str, int]:
    """Serves tenants that always wait, each one's calls costing so much; returns how many of each were served."""
    shares = Shares()
    line, served = Line(shares), dict.fromkeys(costs, 0)
    for tenant in costs:
        for arrival in range(turns):
            line.add(Ticket(Ask((), "m", tenant=tenant), arrival, loop.create_future()))
    for _ in range(turns):
        ticket = line.first()
        assert ticket is not None
        line.remove(ticket)
        tenant = ticket.ask.tenant
        served[tenant] += 1
        shares.serve(tenant, 50)
        shares.settle(tenant, costs[tenant] - 50)
    return served


def test_equally_many_tokens_and_not_calls(loop):
    assert _served(loop, {"long": 300, "short": 100}, 400) == {"long": 100, "short": 300}
    even = _served(loop, {"a": 50, "b": 50, "c": 50}, 300)
    assert set(even.values()) == {100}


def test_nobody_saves_up_turns_and_nobody_pays_for_what_hurt_nobody():
    shares = Shares()
    for _ in range(1000):
        shares.serve("busy", 100)
    # Who comes now begins where the other is, and not a hundred thousand tokens behind.
    assert shares.account("new") == shares.account("busy") - 100
    shares.serve("new", 100)
    assert shares.account("new") == shares.account("busy")


def test_what_callers_name_is_not_remembered_without_bound():
    shares = Shares()
    shares.serve("greedy", 1e6)
    for number in range(10_000):
        shares.serve(f"tenant {number}", 1)
    assert len(shares._accounts) <= 2048
    assert shares.account("greedy") > 1e6 - 1


def test_a_line_knows_how_many_go_before(loop):
    line = Line(Shares())
    for arrival in range(5):
        line.add(Ticket(Ask((), "m", tenant="a"), arrival, loop.create_future()))
    assert line.ahead(Ask((), "m", tenant="a"), 9) == 5
    assert line.ahead(Ask((), "m", tenant="b"), 9) == 1
    assert line.ahead(Ask((), "m", priority=10, tenant="a"), 9) == 0


def test_priorities_beyond_the_contract_overtake_nobody():
    assert Ask((), "m", priority=11).priority == Ask((), "m", priority=-(2**31)).priority == 0
