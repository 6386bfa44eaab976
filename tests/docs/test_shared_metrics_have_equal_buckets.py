from prometheus_client import Histogram

from tests.docs.metrics_page import engine_registry, gateway_registry


def test_a_histogram_of_one_name_has_the_same_edges_in_every_process() -> None:
    """Otherwise a query over gateway and services would add up buckets with different edges."""
    edges = [
        {
            collector._name: collector._upper_bounds
            for collector in registry._collector_to_names
            if isinstance(collector, Histogram)
        }
        for registry in (gateway_registry(), engine_registry())
    ]
    shared = edges[0].keys() & edges[1].keys()
    assert shared
    assert all(edges[0][name] == edges[1][name] for name in shared)
