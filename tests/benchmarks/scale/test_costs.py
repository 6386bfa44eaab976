from benchmarks.scale.costs import costs


async def test_a_gateway_with_real_connections_is_measured() -> None:
    found = await costs(count=3, seconds=0.5)
    assert found.endpoints == 3
    assert found.scrape_kib > 1
    assert min(found.route_us, found.change_us, found.idle_cpu, found.found_seconds) > 0
