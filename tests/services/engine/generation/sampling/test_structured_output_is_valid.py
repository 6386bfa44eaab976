"""Outputs of a random model at high temperature: what holds here does not hold because a model wanted it."""

import asyncio
import json
import re
from typing import Any

import jsonschema
import pytest

from sensorium.errors import InvalidArgument
from services.engine.generation.requests.request import BeamParameters, EarlyStopping, FinishReason
from services.engine.structure.structure import Structure
from tests.drawn import drawn
from tests.services.bench import BenchMaker, Result, read
from tests.services.structures import ARITHMETIC, NUMBER, PERSON, compiled, regex, schema, wanted
from tests.tiny.language_models import END_ID

SEEDS = 16
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"value": {"type": "number"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["value"],
    "additionalProperties": False,
}
PAIR = [{"type": "string", "pattern": "^[a-c]{2,3}$"}, {"type": "boolean"}]
UNION = [
    {"type": "integer", "exclusiveMinimum": -5, "maximum": 5},
    {"type": "string", "maxLength": 3},
    {"const": {"a": [1]}},
]
SCHEMAS: dict[str, Any] = {
    "person": PERSON,
    "tree": TREE,
    "tuple": {"type": "array", "prefixItems": PAIR, "items": False},
    "map": {
        "type": "object",
        "patternProperties": {"^[a-d]{1,3}$": {"type": "integer", "multipleOf": 3}},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 3,
    },
    "union": {"oneOf": UNION},
    "formats": {"type": "array", "minItems": 2, "maxItems": 3, "items": {"type": "string", "format": "uuid"}},
}


async def outputs(bench: Any, structure: Structure, **fields: Any) -> list[Result]:
    """Returns the outputs of many seeds that ended by themselves."""
    asked = {"temperature": 50.0, "max_new_tokens": 100, "end_token_ids": frozenset({END_ID}), "structure": structure}
    results = await asyncio.gather(*(bench.run([10, 20], seed=seed, **asked | fields) for seed in range(SEEDS)))
    whole = [r for r in results if r.completed.finish.reason is not FinishReason.MAX_NEW_TOKENS]
    reasons = {result.completed.finish.reason for result in whole}
    assert reasons <= {FinishReason.STRUCTURE_COMPLETE, FinishReason.END_OF_SEQUENCE}
    assert len(whole) >= SEEDS / 4
    assert len({result.text for result in whole}) > 2
    return whole


@pytest.mark.parametrize("name", drawn([*SCHEMAS], 3))
async def test_documents_are_valid_under_their_schema(name: str, real: BenchMaker) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMAS[name], format_checker=jsonschema.FormatChecker())
    for result in await outputs(real(max_sequences=8), compiled(schema(SCHEMAS[name]))):
        validator.validate(json.loads(result.text))


@pytest.mark.parametrize("expression", [NUMBER, "(ab?|c{2,3})*x", r"[^\x00-\x7F]{2,4}|\w\d\s", "(?i)yes|no|maybe"])
async def test_the_whole_output_matches_the_expression(expression: str, real: BenchMaker) -> None:
    for result in await outputs(real(max_sequences=8), regex(expression)):
        assert re.fullmatch(expression, result.text)


async def test_the_output_is_one_of_the_choices(real: BenchMaker) -> None:
    choices = ("yes", "yes, but", "no", 'say "no"\n', "東京", "\x7f\x00")
    for result in await outputs(real(max_sequences=8), compiled(wanted("choice_list", *choices))):
        assert result.text in choices


async def test_the_output_is_derived_by_the_grammar(real: BenchMaker) -> None:
    structure = compiled(wanted("grammar", ARITHMETIC))
    for result in await outputs(real(max_sequences=8), structure, max_new_tokens=30):
        assert re.fullmatch(r"[0-9+\-*/()]+", result.text)
        # Python's own grammar agrees, but for numbers that begin with 0.
        compile(re.sub(r"\b0+(?=[0-9])", "", result.text), "output", "eval")


async def test_any_object_is_an_object(real: BenchMaker) -> None:
    for result in await outputs(real(max_sequences=8), compiled(wanted("json_object"))):
        assert isinstance(json.loads(result.text), dict)


WORDS = "(red|green|blue)(-[a-z]{2,4}){1,3}"


async def test_every_candidate_is_held_to_it_by_itself(real: BenchMaker) -> None:
    bench = real(max_sequences=6)
    asked = {"temperature": 50.0, "seed": 3, "max_new_tokens": 60, "end_token_ids": frozenset({END_ID})}
    result = await bench.run([10, 20], structure=regex(WORDS), candidate_count=5, **asked)
    texts = [candidate.text for candidate in result.candidates]
    assert all(re.fullmatch(WORDS, text) for text in texts)
    assert len(set(texts)) > 2
    assert texts[0] == (await bench.run([10, 20], structure=regex(WORDS), **asked)).text
    held = tuple(candidate.token_ids[: 3 * i] for i, candidate in enumerate(result.candidates))
    again = await bench.run([10, 20], structure=regex(WORDS), candidate_count=5, delivered_each=held, **asked)
    for candidate, rest, known in zip(result.candidates, again.candidates, held, strict=True):
        assert (*known, *rest.token_ids) == candidate.token_ids
    assert bench.idle


@pytest.mark.parametrize("temperature", [0.0, 5.0])
@pytest.mark.parametrize("pages", [256, 14])
async def test_every_beam_is_held_to_it(real: BenchMaker, temperature: float, pages: int) -> None:
    bench = real(max_sequences=8, pages=pages)
    beams = BeamParameters(4, 1.0, EarlyStopping.FIRST)
    asked = {"temperature": temperature, "seed": 3, "max_new_tokens": 60, "end_token_ids": frozenset({END_ID})}
    streams = [
        bench.submit([10, 20 + i], structure=regex(WORDS), beams=beams, candidate_count=4, **asked) for i in range(2)
    ]
    for result in await asyncio.gather(*map(read, streams)):
        texts = [candidate.text for candidate in result.candidates]
        assert len(set(texts)) == 4
        assert all(re.fullmatch(WORDS, text) for text in texts)
    assert bench.idle


async def test_beams_of_which_only_few_are_admitted_say_so(real: BenchMaker) -> None:
    beams = BeamParameters(4, 1.0, EarlyStopping.FIRST)
    asked = {"max_new_tokens": 60, "end_token_ids": frozenset({END_ID}), "beams": beams}
    structure = regex("a|b")
    result = await real().run([10], structure=structure, candidate_count=2, **asked)
    assert {candidate.text for candidate in result.candidates} == {"a", "b"}
    with pytest.raises(InvalidArgument, match="parameters"):
        await real().run([10], structure=structure, candidate_count=3, **asked)
