"""What is timed is what calls do."""

from benchmarks.gateway import costs


async def test_an_answers_usage_is_found_and_a_call_is_let_through() -> None:
    found = [await work() for work in costs._of_the_gateway().values()]
    assert found[-1] == costs._USAGE
    assert (await costs._told(10**9)()).token_ids == (1,)
