from tests.services.bench import BenchMaker, eventually


async def test_a_step_that_does_not_end_is_told_and_one_that_does_is_not(fake: BenchMaker) -> None:
    bench = fake()
    await eventually(lambda: not bench.engine.trouble(0))  # once it is idle
    bench.runner.hold()
    stream = bench.submit([9], max_new_tokens=1)
    await eventually(lambda: bench.engine.trouble(0.05))
    assert not bench.engine.trouble(60)
    bench.runner.free()
    async for _ in stream:
        pass
    await eventually(lambda: not bench.engine.trouble(0))


async def test_an_engine_that_was_closed_is_not_stuck(fake: BenchMaker) -> None:
    bench = fake()
    bench.engine.close()
    assert not bench.engine.trouble(0)
