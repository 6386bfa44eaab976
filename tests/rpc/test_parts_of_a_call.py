import time

import pytest

from sensorium.call_record import CALL_RECORD, CallRecord, Timeline, followed, phase
from sensorium.rpc.call_log import host_of
from sensorium.rpc.phases import phases_of


@pytest.fixture
def record() -> CallRecord:
    made = CallRecord("/test.Service/Do", "r-1", began=time.monotonic() - 10)
    CALL_RECORD.set(made)
    return made


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (Timeline(1.0), {"queue": (1.0, None)}),
        (Timeline(1.0, started=2.0), {"queue": (1.0, 2.0), "prefill": (2.0, None)}),
        (
            Timeline(1.0, started=2.0, first_output=3.0),
            {"queue": (1.0, 2.0), "prefill": (2.0, 3.0), "decode": (3.0, None)},
        ),
        (
            Timeline(1.0, started=2.0, first_output=3.0, ended=4.0),
            {"queue": (1.0, 2.0), "prefill": (2.0, 3.0), "decode": (3.0, 4.0), "delivery": (4.0, None)},
        ),
        (Timeline(1.0, ended=4.0), {"queue": (1.0, 4.0), "delivery": (4.0, None)}),
        (Timeline(1.0, True, started=2.0), {"queue": (1.0, 2.0), "compute": (2.0, None)}),
        (
            Timeline(1.0, True, started=2.0, ended=3.0),
            {"queue": (1.0, 2.0), "compute": (2.0, 3.0), "delivery": (3.0, None)},
        ),
    ],
)
def test_what_has_not_ended_ends_with_the_call(
    record: CallRecord, line: Timeline, parts: dict[str, tuple[float, float | None]]
) -> None:
    record.timelines.append(line)
    before = time.monotonic()
    found = {name: (began, ended) for name, began, ended in phases_of(record)}
    assert found.keys() == parts.keys()
    for name, (began, ended) in parts.items():
        assert found[name][0] == began
        assert found[name][1] == ended if ended is not None else found[name][1] >= before


def test_a_call_of_many_requests_keeps_the_first(record: CallRecord) -> None:
    for number in range(100):
        followed(float(number))
        with phase("preprocess"):
            pass
    assert [line.accepted for line in record.timelines] == [float(number) for number in range(32)]
    assert len(record.phases) == 32


def test_what_fails_has_been_a_phase_too(record: CallRecord) -> None:
    with pytest.raises(ValueError), phase("preprocess"):
        raise ValueError
    assert [part.name for part in record.phases] == ["preprocess"]


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:51234", "10.0.0.7"),
        ("ipv6:%5B2001:db8::1%5D:51234", "2001:db8::1"),
        ("ipv6:[::1]:51234", "::1"),
        ("unix:/run/socket", "unix"),
    ],
)
def test_a_peer_is_named_without_its_port(peer: str, host: str) -> None:
    assert host_of(peer) == host
