import pytest

from sensorium.cli.top.scrape import Change, parse
from tests.cli.top.seen import EARLIER, LATER, change, drawn
from tests.k8s.monitoring.known import OWN

WIDE = """\
gateway:50050  12:00:00  30.5 requests/s · 4.9% not OK · 415 tokens/s · 2 running · 0 queued · event loop 5ms late

POOL    ENDPOINTS  RUNNING  QUEUED  CAPACITY  LOAD
chat    1 ready          2       0        32  █░░░░░░░░░   6%
digits  1 ready          0       0        64  ░░░░░░░░░░   0%

MODEL   STATE  REQUESTS/S  NOT OK/S  TOKENS/S  FIRST p50 p99  EACH p50 p99  WHOLE p50 p99
chat    ready          14         1       415      14ms 25ms       3ms 5ms     95ms 275ms
digits  ready          16         0         0              –             –       8ms 37ms
other   –             0.5       0.5         0              –             –       5ms 10ms

ENDPOINT         POOL    RUNNING  REPORTED
127.0.0.1:50051  chat          2   6 s ago
127.0.0.1:50052  digits        0   6 s ago"""


def test_a_recorded_gateway_is_drawn() -> None:
    assert drawn(change()) == WIDE.splitlines()


def test_who_looks_is_no_load() -> None:
    own = 'sensorium_gateway_requests_total{code="OK",model="other",task="models"}'
    assert f"{own} 1.0" in LATER
    assert drawn(change(later=LATER.replace(f"{own} 1.0", f"{own} 3.0"))) == WIDE.splitlines()


@pytest.mark.parametrize("width", [24, 30, 40, 60, 79, 100])
def test_a_narrow_terminal_leaves_columns_out_and_never_breaks_a_row(width: int) -> None:
    lines = drawn(change(), width)
    assert max(map(len, lines)) <= width
    assert sum(line.startswith(("chat", "digits")) for line in lines) == 4, "a row for each pool and each model"
    assert any(line.endswith("LOAD") for line in lines), "the load stays longest"


@pytest.mark.parametrize("height", range(1, 20))
def test_a_low_terminal_leaves_rows_out(height: int) -> None:
    assert len(drawn(change(), height=height)) <= height or height == 1
    assert drawn(change(), height=18) == WIDE.splitlines()


def test_rows_that_are_left_out_are_counted() -> None:
    later = LATER + "".join(f'sensorium_gateway_pool_capacity{{pool="p{place:02}"}} 1.0\n' for place in range(30))
    assert drawn(change(later=later), height=10)[-1] == "+26"


def test_one_look_has_no_rates() -> None:
    once = parse(LATER, 12.0)
    lines = drawn(Change(once, once))
    assert "– requests/s" in lines[0]
    assert lines[3].split()[:2] == ["chat", "1"], "what is so at this moment is known"


def test_a_gateway_that_began_anew_has_counted_all_since_then() -> None:
    began = change(earlier=EARLIER.replace("} ", "} 9"))
    total = sum(map(float, parse(LATER, 0).series["sensorium_gateway_requests_total"].values()))
    assert began.rate("sensorium_gateway_requests_total") == total / 2


def test_quantiles_are_those_of_prometheus() -> None:
    """Of 10 new ones 4 are up to 1, 4 more up to 2, and 2 beyond: linear within a bucket, the last edge beyond."""

    def text(*counts: int) -> str:
        edges = zip(("1.0", "2.0", "+Inf"), counts, strict=True)
        return "# TYPE x histogram\n" + "".join(f'x_bucket{{le="{edge}"}} {count}\n' for edge, count in edges)

    changed = Change(parse(text(5, 5, 5), 0), parse(text(9, 13, 15), 1))
    found = [changed.quantile(share, "x") for share in (0.2, 0.4, 0.6, 0.99)]
    assert found == [pytest.approx(0.5), pytest.approx(1), pytest.approx(1.5), 2]
    assert Change(changed.after, changed.after).quantile(0.5, "x") is None


def test_names_do_not_speak_to_the_terminal() -> None:
    later = LATER + 'sensorium_gateway_pool_capacity{pool="\x1b[31mred"} 1.0\n'
    assert "\x1b" not in "\n".join(drawn(change(later=later), trouble="\x1b[2J"))


def test_what_is_asked_for_is_exported() -> None:
    asked: set[str] = set()

    class Noting(dict[str, object]):
        def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
            asked.add(name)
            return super().get(name, default)

    changed = change()
    for scrape in (changed.before, changed.after):
        object.__setattr__(scrape, "series", Noting(scrape.series))
    drawn(changed)
    assert len(asked) > 8
    assert asked <= OWN.keys()
