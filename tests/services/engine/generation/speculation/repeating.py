"""Requests of every kind whose prompts repeat themselves, drawn by dice."""

import random
from typing import Any

from services.engine.generation.requests.request import PromptLookup
from tests.services.structures import NUMBER, PERSON, compiled, regex, schema

KINDS: list[dict[str, Any]] = [
    {},
    {"logprob_count": 3},
    {"temperature": 0.3, "top_p": 0.9, "top_k": 40, "logprob_count": 0},
    {"temperature": 0.2, "min_p": 0.05, "typical_p": 0.9},
    {"repetition_penalty": 0.7},
    {"presence_penalty": -1.0, "frequency_penalty": 0.02, "temperature": 0.1},
    {"no_repeat_ngram_size": 5},
    {"bad_words": ((40,), (50, 51)), "logit_bias": ((60, 6.0), (61, 6.0))},
    {"allowed_token_ids": (60, 61, 62), "temperature": 0.5},
    {"allowed_token_ids": (60, 61), "stop_strings": ("zz",), "logit_bias": ((60, 9.0),)},
    {"stop_token_ids": frozenset(range(6, 30)), "min_new_tokens": 9, "temperature": 0.4},
    {"end_token_ids": frozenset(range(30, 60)), "min_new_tokens": 20},
    {"stop_strings": ("e", "st", "a"), "min_new_tokens": 12, "include_stop_string": True},
    {"candidate_count": 3, "temperature": 0.3},
    {"structure": ("regex", "(ab|cd){0,20}[0-9]"), "temperature": 0.2},
    {"structure": ("regex", NUMBER)},
    {"structure": ("schema", PERSON), "logprob_count": 1},
]

QUICK: list[dict[str, Any]] = [
    {},
    {"temperature": 0.3, "top_p": 0.9, "top_k": 40},
    {"temperature": 0.2, "min_p": 0.05},
    {"stop_strings": ("st", "zz")},
    {"temperature": 0.8, "top_p": 0.97},  # of more tokens than the device looks at
    {"end_token_ids": frozenset(range(30, 60)), "temperature": 0.2},
    {"logprob_count": 2, "temperature": 0.2},
]
"""Of which nothing but tokens is wanted, so that steps are launched."""


def repeating(source: random.Random) -> list[int]:
    """Returns a prompt that repeats itself."""
    piece = [source.randrange(6, 320) for _ in range(source.randrange(1, 12))]
    return [source.randrange(6, 320) for _ in range(source.randrange(5))] + piece * source.randrange(2, 5)


def asked_of(source: random.Random, kinds: list[dict[str, Any]]) -> list[tuple[list[int], dict[str, Any]]]:
    """Returns a prompt for each kind of request, with what is asked."""
    asked: list[tuple[list[int], dict[str, Any]]] = []
    for i, kind in enumerate(kinds):
        fields = {"seed": i, "max_new_tokens": source.randrange(20, 60), **kind}
        if made := fields.pop("structure", None):
            fields["structure"] = regex(made[1]) if made[0] == "regex" else compiled(schema(made[1]))
        asked.append((repeating(source), fields))
    return asked


def looking_up(source: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"lookup": PromptLookup(source.randrange(1, 17), source.randrange(1, 4))}
