from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from gateway.endpoints.router import EndpointState, ServedModel, route
from sensorium.errors import InvalidArgument, ModelNotReady, ModelNotServed, NoEndpoint, TaskNotSupported
from sensorium.v1.models_pb2 import TASK_CLASSIFY_TEXT, TASK_ZERO_SHOT_CLASSIFY_TEXT

GENERATE, EMBED = 1, 2
CLASSIFY, ZERO_SHOT = TASK_CLASSIFY_TEXT, TASK_ZERO_SHOT_CLASSIFY_TEXT


@dataclass
class FakeEndpoint:
    address: str
    models: Mapping[str, ServedModel] = field(default_factory=dict)
    state: EndpointState = EndpointState.READY
    learned: bool = True
    in_flight: int = 0
    taken: int = 0
    full: bool = False
    share: float = 1.0


def endpoint(address: str, *names: str, tasks=(GENERATE,), ready=True, concurrency=1, **rest) -> FakeEndpoint:
    models = {name: ServedModel(name, frozenset(tasks), ready, concurrency) for name in names}
    return FakeEndpoint(address, models, **rest)


UNREACHED = FakeEndpoint("new", state=EndpointState.CONNECTING, learned=False)


def test_takes_the_least_loaded_by_its_concurrency():
    busy = endpoint("a", "m", in_flight=3, concurrency=8)
    small = endpoint("b", "m", in_flight=0, concurrency=1)
    assert route([busy, small], [GENERATE], "m").endpoint is busy
    busy.in_flight = 8
    assert route([busy, small], [GENERATE], "m").endpoint is small


def test_picks_among_equals():
    equals = [endpoint(name, "m") for name in "abc"]
    assert route(equals, [GENERATE], "m", pick=lambda choices: choices[-1]).endpoint is equals[2]
    assert {route(equals, [GENERATE], "m").endpoint.address for _ in range(200)} == {"a", "b", "c"}


def test_says_why_it_chose():
    assert route([endpoint("a", "m")], [GENERATE], "m").reason == "only"
    assert route([endpoint("a", "m"), endpoint("b", "m")], [GENERATE], "m").reason == "least_in_flight"


def test_skips_endpoints_that_were_tried():
    endpoints = [endpoint("a", "m"), endpoint("b", "m")]
    assert route(endpoints, [GENERATE], "m", tried=["a"]).endpoint.address == "b"
    with pytest.raises(ModelNotReady):
        route(endpoints, [GENERATE], "m", tried=["a", "b"])


def test_one_of_several_tasks_is_enough():
    assert route([endpoint("a", "m", tasks=(EMBED,))], [GENERATE, EMBED], "m").endpoint.address == "a"


def test_no_name_means_the_only_model_for_the_task():
    endpoints = [endpoint("a", "m"), endpoint("b", "m"), endpoint("c", "e", tasks=(EMBED,))]
    assert route(endpoints, [EMBED], "").model == "e"
    assert route(endpoints, [GENERATE], "").model == "m"


def test_no_name_among_several_models_is_an_error_that_names_them():
    with pytest.raises(InvalidArgument) as caught:
        route([endpoint("a", "m", "n")], [GENERATE], "")
    (violation,) = caught.value.violations
    assert violation.field == "model"
    assert "m, n" in violation.description


def test_the_error_names_the_tasks_of_each_model_if_the_call_has_several():
    endpoints = [endpoint("a", "m", tasks=(CLASSIFY, ZERO_SHOT, EMBED)), endpoint("b", "n", tasks=(CLASSIFY,))]
    with pytest.raises(InvalidArgument) as caught:
        route(endpoints, [CLASSIFY, ZERO_SHOT], "")
    (violation,) = caught.value.violations
    assert violation.description.endswith(": m (classify-text, zero-shot-classify-text), n (classify-text)")


def test_no_name_and_no_model_for_the_task():
    with pytest.raises(TaskNotSupported):
        route([endpoint("a", "m")], [EMBED], "")
    for endpoints in ([endpoint("a", "m"), UNREACHED], [UNREACHED], []):
        with pytest.raises(NoEndpoint) as caught:
            route(endpoints, [EMBED], "")
        assert caught.value.retry_after


def test_a_known_model_that_cannot_do_this():
    with pytest.raises(TaskNotSupported) as caught:
        route([endpoint("a", "m"), UNREACHED], [EMBED], "m")
    assert caught.value.metadata["model"] == "m"


def test_an_unknown_model_is_not_served_once_all_endpoints_have_reported():
    with pytest.raises(ModelNotServed) as caught:
        route([endpoint("a", "m"), endpoint("b", "n")], [GENERATE], "x")
    assert caught.value.metadata == {"model": "x", "servedModels": "m, n"}
    for endpoints in ([endpoint("a", "m"), UNREACHED], []):
        with pytest.raises(NoEndpoint) as unreached:
            route(endpoints, [GENERATE], "x")
        assert unreached.value.retry_after


def test_a_known_model_whose_endpoints_are_not_ready():
    loading = endpoint("a", "m", tasks=(), ready=False)
    draining = endpoint("b", "m", state=EndpointState.NOT_SERVING)
    gone = endpoint("c", "m", state=EndpointState.CONNECTING)
    for endpoints, error in (([loading], ModelNotReady), ([draining, gone], ModelNotReady), ([gone], NoEndpoint)):
        with pytest.raises(error) as caught:
            route(endpoints, [GENERATE], "m")
        assert caught.value.retry_after


def test_only_ready_models_of_ready_endpoints_get_work():
    endpoints = [
        endpoint("a", "m", ready=False),
        endpoint("b", "m", state=EndpointState.NOT_SERVING),
        endpoint("c", "m", in_flight=1000),
    ]
    assert route(endpoints, [GENERATE], "m").endpoint.address == "c"


def test_an_endpoint_with_room_goes_before_a_lesser_load():
    small = endpoint("a", "m", concurrency=1, in_flight=1, taken=1)
    large = endpoint("b", "m", concurrency=8, in_flight=10, taken=10)
    choice = route([small, large], [GENERATE], "m", over_commit=1.25)
    assert (choice.endpoint, choice.free) == (small, True)
    small.in_flight = small.taken = 2
    assert not route([small, large], [GENERATE], "m", over_commit=1.25).free
    untold = endpoint("c", "m", concurrency=0, in_flight=1000, taken=1000)
    assert route([small, large, untold], [GENERATE], "m").endpoint is untold


def test_an_endpoint_that_refused_is_full():
    full, busy = endpoint("a", "m", concurrency=8, full=True), endpoint("b", "m", concurrency=8, in_flight=7, taken=7)
    assert route([full, busy], [GENERATE], "m").endpoint is busy
    assert not route([full], [GENERATE], "m").free


def test_a_share_of_an_endpoint_takes_a_share_of_the_calls():
    slow = endpoint("a", "m", concurrency=8, in_flight=2, taken=2, share=0.25)
    full = endpoint("b", "m", concurrency=8, in_flight=6)
    assert route([slow, full], [GENERATE], "m").endpoint is full
    assert not route([slow], [GENERATE], "m").free


def test_an_ejected_endpoint_gets_work_only_where_no_other_is_ready():
    ejected = endpoint("a", "m", state=EndpointState.EJECTED)
    busy = endpoint("b", "m", in_flight=1000)
    assert route([ejected, busy], [GENERATE], "m").endpoint is busy
    busy.state = EndpointState.NOT_SERVING
    assert route([ejected, busy], [GENERATE], "m").endpoint is ejected
