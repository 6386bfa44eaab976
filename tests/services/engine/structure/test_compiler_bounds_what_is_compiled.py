import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sensorium.errors import QueueFull, Violation
from services.engine.admission import Admission, QueueLimits
from services.engine.structure import sandbox
from services.engine.structure.cache import Refusal
from services.engine.structure.compiler import StructureCompiler
from services.engine.structure.format import StructureFormat
from services.engine.structure.structure import Structure
from tests.services.structures import PERSON, accepts, schema, wanted
from tests.tiny.language_models import tokenizer
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def compiler() -> Iterator[StructureCompiler]:
    compiler = StructureCompiler(tokenizer(), Admission(QueueLimits(requests=20)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "TRIAL_WALL_SECONDS", PATIENCE)  # a busy machine may take long to start the process
        yield compiler
    compiler.close()


async def refusal(compiler: StructureCompiler, asked: StructureFormat) -> Violation:
    structure, (violation,) = await compiler.find(asked)
    assert structure is None
    return violation


async def compiled(compiler: StructureCompiler, asked: StructureFormat) -> Structure:
    structure, violations = await compiler.find(asked)
    assert structure is not None
    assert violations == ()
    return structure


async def test_nothing_is_found_where_nothing_is_wanted(compiler: StructureCompiler) -> None:
    assert await compiler.find(None) == (None, ())


async def test_equal_structures_are_compiled_once_also_at_the_same_time(
    compiler: StructureCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[StructureFormat] = []
    try_out = compiler._sandbox.try_out
    monkeypatch.setattr(compiler._sandbox, "try_out", lambda asked: tried.append(asked) or try_out(asked))
    same = schema(PERSON | {"title": "once"})
    found = await asyncio.gather(*(compiled(compiler, same) for _ in range(10)))
    assert await compiled(compiler, same) is found[0]
    assert len(set(map(id, found))) == 1
    assert tried == [same]
    wrong = wanted("regex", "(once")
    reasons = {(await refusal(compiler, wrong)).description for _ in range(3)}
    assert reasons == {"unclosed group"}
    assert tried == [same, wrong]


async def test_one_who_leaves_does_not_take_it_from_the_others(compiler: StructureCompiler) -> None:
    asked = wanted("regex", "left{3}")
    first, second = asyncio.create_task(compiler.find(asked)), asyncio.create_task(compiler.find(asked))
    await asyncio.sleep(0)
    first.cancel()
    structure, _ = await second
    assert structure is not None
    assert accepts(structure, "lefttt")


async def test_no_more_wait_than_the_queue_holds(compiler: StructureCompiler) -> None:
    asked = [wanted("regex", f"many{i}") for i in range(21)]
    found = await asyncio.gather(*map(compiler.find, asked), return_exceptions=True)
    assert sum(isinstance(one, QueueFull) for one in found) == 1
    assert (await compiled(compiler, asked[-1])) is not None


def chain(length: int) -> StructureFormat:
    definitions = {str(i): {"items": {"$ref": f"#/$defs/{i + 1}"}} for i in range(length)}
    return schema({"$ref": "#/$defs/0", "$defs": definitions | {str(length): {}}})


def rules(pattern: str, count: int, last: str) -> StructureFormat:
    lines = (f"a{i} ::= {pattern.format(next=f'a{i + 1}')}\n" for i in range(count))
    return wanted("grammar", f"root ::= a0\n{''.join(lines)}a{count} ::= {last}")


HOSTILE = {
    "a divisor": schema({"type": "integer", "multipleOf": 123_456_789}),
    "optional letters": wanted("regex", "a?" * 4_000),
    "optional properties": schema({"type": "object", "properties": {f"p{i}": {} for i in range(3_000)}}),
    "itself": schema({"$ref": "#"}),
    "nothing": wanted("regex", "[a&&b]"),
    "doubled rules": rules("{next} {next}", 40, '"x"?'),
    "many rules": rules("{next} | {next} {next}", 400, '"x"? | "(" root ")"'),
    "deep brackets": wanted("json_schema", "[" * 100_000),
    "deep groups": wanted("regex", "(" * 4_000 + ")" * 4_000),
}


@pytest.mark.usefixtures("uncollected")  # the collector would look at all that other tests have left, in this time
@pytest.mark.parametrize("name", HOSTILE)
async def test_what_cannot_be_compiled_in_bounds_is_refused_and_the_next_is_served(
    name: str, compiler: StructureCompiler
) -> None:
    beat = time.thread_time()
    hostile = asyncio.create_task(refusal(compiler, HOSTILE[name]))
    pause = 0.0
    while not hostile.done():
        await asyncio.sleep(0.001)
        # CPU time of the event loop's thread, which does not depend on the machine's load.
        pause, beat = max(pause, time.thread_time() - beat), time.thread_time()
    violation = await hostile
    assert violation.field == HOSTILE[name].field
    assert 3 < len(violation.description) < 500
    assert "\n" not in violation.description
    assert pause < 0.5
    assert accepts(await compiled(compiler, wanted("regex", f"next|{len(name)}")), "next")


PATIENT = "from services.engine.structure import trial; trial.TRIAL_CPU_SECONDS = 30.0; trial.main()"


async def test_a_deep_structure_within_bounds_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its recursion would crash a process whose threads have the usual stack size.

    As it takes most of the usual time of a trial, this one may take as long as it does on a slow machine.
    """

    def start(command: list[str], **named: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen([command[0], "-c", PATIENT], **named)

    own = SimpleNamespace(Popen=start, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(sandbox, "subprocess", own)
    monkeypatch.setattr(sandbox, "TRIAL_WALL_SECONDS", 300.0)
    compiler = StructureCompiler(tokenizer(), Admission(QueueLimits()))
    try:
        structure = await compiled(compiler, chain(1_500))
        assert accepts(structure, "[[[]]]")
    finally:
        compiler.close()


async def test_a_process_that_is_gone_is_started_again(compiler: StructureCompiler) -> None:
    await compiled(compiler, wanted("regex", "before"))
    process = compiler._sandbox._process
    assert process is not None
    process.kill()
    assert accepts(await compiled(compiler, wanted("regex", "after")), "after")
    process.wait()


async def test_what_a_busy_machine_had_no_time_for_may_be_asked_again(
    compiler: StructureCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = wanted("regex", "busy{3}")
    await compiled(compiler, wanted("regex", "before"))
    process = compiler._sandbox._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)  # as a process that gets no time
    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "TRIAL_WALL_SECONDS", 0.0)
        assert "on this machine now" in (await refusal(compiler, asked)).description
    assert accepts(await compiled(compiler, asked), "busyyy")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (wanted("regex", "a" * 8_193), "regex"),
        (wanted("grammar", "a" * 32_769), "grammar"),
        (wanted("json_schema", json.dumps({"const": "a" * 262_144})), "json_schema"),
        (wanted("choice_list"), "choice_list.choices"),
        (wanted("choice_list", *map(str, range(4_097))), "choice_list.choices"),
        (wanted("choice_list", "a", ""), "choice_list.choices[1]"),
        (wanted("choice_list", "a" * 262_145), "choice_list"),
    ],
)
async def test_a_size_that_is_not_compiled_is_told(
    asked: StructureFormat, field: str, compiler: StructureCompiler
) -> None:
    violation = await refusal(compiler, asked)
    assert violation.field == f"parameters.structured_output.{field}"


async def test_one_that_grew_by_use_is_compiled_anew_and_one_that_failed_is_refused(
    compiler: StructureCompiler,
) -> None:
    asked = wanted("regex", "grown+")
    first = await compiled(compiler, asked)
    first.worked(0.04, "")
    assert await compiled(compiler, asked) is first
    first.worked(0.04, "")
    second = await compiled(compiler, asked)
    assert second is not first
    second.failure = "is too much"
    assert (await refusal(compiler, asked)).description == "is too much"
    assert compiler._cache.get(asked) == Refusal("is too much")


async def test_a_tokenizer_that_changes_text_refuses_all_structures_and_nothing_else() -> None:
    changing = tokenizer()
    changing.backend_tokenizer.decoder = __import__("tokenizers").decoders.BPEDecoder(suffix="e")
    compiler = StructureCompiler(changing, Admission(QueueLimits()))
    violation = await refusal(compiler, wanted("regex", "a"))
    assert violation.field == "parameters.structured_output"
    assert "tokenizer" in violation.description
    assert await compiler.find(None) == (None, ())
    compiler.close()
