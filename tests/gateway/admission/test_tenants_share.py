"""The order of a line: tenants are charged the actual cost of their calls."""

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
    """Serves tenants with full queues, whose calls cost `costs` tokens; returns the number of calls served of each."""
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


def test_tenants_get_equal_tokens_not_equal_calls(loop):
    assert _served(loop, {"long": 300, "short": 100}, 400) == {"long": 100, "short": 300}
    even = _served(loop, {"a": 50, "b": 50, "c": 50}, 300)
    assert set(even.values()) == {100}


def test_an_idle_tenant_saves_no_turns_and_a_busy_one_owes_none():
    shares = Shares()
    for _ in range(1000):
        shares.serve("busy", 100)
    # A new tenant starts at the account of the last one served, not a hundred thousand tokens below.
    assert shares.account("new") == shares.account("busy") - 100
    shares.serve("new", 100)
    assert shares.account("new") == shares.account("busy")


def test_the_number_of_accounts_is_bounded():
    shares = Shares()
    shares.serve("greedy", 1e6)
    for number in range(10_000):
        shares.serve(f"tenant {number}", 1)
    assert len(shares._accounts) <= 2048
    assert shares.account("greedy") > 1e6 - 1


def test_a_line_estimates_how_many_calls_go_first(loop):
    line = Line(Shares())
    for arrival in range(5):
        line.add(Ticket(Ask((), "m", tenant="a"), arrival, loop.create_future()))
    assert line.ahead(Ask((), "m", tenant="a"), 9) == 5
    assert line.ahead(Ask((), "m", tenant="b"), 9) == 1
    assert line.ahead(Ask((), "m", priority=10, tenant="a"), 9) == 0


def test_priorities_beyond_the_contract_overtake_nobody():
    assert Ask((), "m", priority=11).priority == Ask((), "m", priority=-(2**31)).priority == 0
