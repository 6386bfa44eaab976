import pytest

from services.engine.structure.cache import Refusal, StructureCache
from services.engine.structure.structure import StructureFailed
from tests.services.structures import compiled, regex, wanted
from tests.tiny.language_models import tokenizer

FORMATS = [wanted("regex", f"a{{{i}}}") for i in range(6)]


def test_those_used_least_lately_go() -> None:
    cache = StructureCache(entries=3)
    for asked in FORMATS[:3]:
        cache.put(asked, Refusal(asked.texts[0]))
    assert cache.get(FORMATS[0]) == Refusal("a{0}")
    cache.put(FORMATS[3], Refusal("new"))
    assert [cache.get(asked) is not None for asked in FORMATS[:4]] == [True, False, True, True]
    assert len(cache) == 3


def test_bytes_count_also_those_that_come_with_use() -> None:
    cache = StructureCache(size_bytes=4 << 20)
    used = compiled(FORMATS[0])
    for asked in FORMATS[:4]:
        cache.put(asked, used if asked is FORMATS[0] else compiled(asked))
    assert len(cache) == 4
    assert cache.bytes < 1 << 20
    used.worked(0.02, "")  # seconds in which a lexer may grow by megabytes
    cache.put(FORMATS[4], compiled(FORMATS[4]))
    assert cache.get(FORMATS[0]) is None
    assert len(cache) == 4


def test_the_newest_stays_however_large() -> None:
    cache = StructureCache(size_bytes=1)
    for asked in FORMATS:
        cache.put(asked, compiled(asked))
    assert len(cache) == 1
    assert cache.get(FORMATS[-1]) is not None


def test_the_memory_of_a_structure_has_a_limit() -> None:
    structure = regex("a+")
    for _ in range(100_000):
        structure.worked(5e-6, "")  # as masks take whose states are there
    assert not structure.spent
    for _ in range(1_000):
        structure.worked(0.04, "")
    assert structure.bytes <= 64 << 20
    assert structure.spent


def test_a_lexer_that_others_may_have_filled_is_spent_and_no_fault_of_the_structure() -> None:
    for outputs, spent in ((1, False), (2, True)):
        structure = regex("a+")
        for _ in range(outputs):
            structure.begin()
        with pytest.raises(StructureFailed, match="too complex"):
            structure.worked(1e-5, "lexer error: too many states: 20000 >= 20000")
        assert (structure.spent, structure.failure is None) == (spent, spent)


def test_what_one_output_came_to_is_told_to_others_too() -> None:
    """They share a lexer. After it failed for one, another's token fails as too complex, not as forbidden."""
    rules = "".join(f'r{i} ::= r{i + 1} "x" | "y"\n' for i in range(600))
    structure = compiled(wanted("grammar", f'root ::= r0\n{rules}r600 ::= "z"'))
    one, other = structure.begin(), structure.begin()
    y = tokenizer()("y", add_special_tokens=False)["input_ids"]
    assert one.advance(y) == 1 and not one.complete
    assert one.failure
    with pytest.raises(StructureFailed, match="too complex"):
        other.advance(y)


def test_a_lexer_that_the_beams_of_an_output_filled_is_no_fault_of_the_structure() -> None:
    structure = regex("a+")
    structure.begin().fork()
    with pytest.raises(StructureFailed, match="too complex"):
        structure.worked(1e-5, "lexer error: too many states: 20000 >= 20000")
    assert structure.spent
    assert structure.failure is None
