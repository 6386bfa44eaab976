import re

import pytest

from sensorium.rpc import request_id_of
from tests.rpc.peer import STREAM, UNARY, peer


async def test_the_callers_id_comes_back_and_is_known_while_the_call_runs():
    async with peer() as there:
        call = there.call(UNARY, metadata=(("x-request-id", "r-1"),))
        await call
        assert dict(await call.initial_metadata())["x-request-id"] == "r-1"
        assert there.text.ids == ["r-1"]


async def test_an_id_is_made_where_there_is_none():
    async with peer() as there:
        call = there.call(STREAM)
        await call.read()
        assert re.fullmatch("[0-9a-f]{32}", dict(await call.initial_metadata())["x-request-id"])


@pytest.mark.parametrize("value", ["a", "A-1_:/.~", "x" * 128])
def test_sane_ids_are_kept(value: str):
    assert request_id_of([("other", "z"), ("x-request-id", value)]) == value


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a\n", "ü", b"bytes"])
def test_other_ids_are_replaced(value: str | bytes):
    assert re.fullmatch("[0-9a-f]{32}", request_id_of([("x-request-id", value)]))
