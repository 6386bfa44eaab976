from pathlib import Path

from benchmarks.text.checkpoint import SHAPES
from benchmarks.text.schedule import Plan
from benchmarks.text.system import SYSTEMS
from benchmarks.text.workload import MIXED, WORKLOADS


def test_what_is_not_chosen_is_named() -> None:
    systems = tuple(name for name in SYSTEMS if name != "vllm-cpu")
    plan = Plan(tuple(SHAPES), systems, (*WORKLOADS, MIXED), (1,), 1, 1.0, Path())
    assert plan.left_out() == ["systems not measured in this run: vllm-cpu"]
