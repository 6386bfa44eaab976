"""Every small text model does on held-out items what its card says."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from models.recipes.text.catalog import RECIPES
from tests.models.text_measures import measured

MODELS = Path(__file__).parents[2] / "models"
TOLERATED = 2
"""Items: another version of torch may round a close choice the other way."""
STATED = re.compile(r"^\| ([^|]+) \| ([^|]+) \| (\d+) \| ([\d.]+)% \|$", re.MULTILINE)

every_model = pytest.mark.parametrize("name", RECIPES)


def card(name):
    return (MODELS / name / "README.md").read_text(encoding="utf-8")


def held_out(name):
    return [json.loads(line) for line in (MODELS / name / "held_out.jsonl").read_text(encoding="utf-8").splitlines()]


def load_tokenizer(name):
    return AutoTokenizer.from_pretrained(MODELS / name, local_files_only=True)


def load_network(name):
    return RECIPES[name].auto.from_pretrained(MODELS / name, local_files_only=True).float().eval()


def texts_of(example):
    """All strings in an example."""
    if isinstance(example, str):
        return {example}
    parts = vars(example).values() if hasattr(example, "__dict__") else example
    return set().union(*(texts_of(part) for part in parts if isinstance(part, str | tuple | list)), set())


@every_model
def test_held_out_items_come_out_as_the_card_states(name):
    """Every figure of the card holds, but for an item or two, and the card states every figure."""
    stated = {
        (part, measure): (int(items), float(rate) / 100) for part, measure, items, rate in STATED.findall(card(name))
    }
    found = measured(name, load_network(name), load_tokenizer(name), held_out(name), MODELS / name)
    assert {key: items for key, (items, _) in stated.items()} == {key: items for key, (_, items) in found.items()}
    worse = {
        key: (found[key][0], rate)
        for key, (items, rate) in stated.items()
        if found[key][0] < rate - TOLERATED / items - 5e-4
    }
    assert not worse


@every_model
def test_training_draws_no_held_out_text(name):
    """Nothing that is asked in the held-out items is among the sentences that training draws."""
    asked = {item[2] if name == "extractive-qa" else item[1] for item in held_out(name) if item[0] != "document"}
    rng, drawn = random.Random(1), set()
    for _ in range(3000):
        drawn |= texts_of(RECIPES[name].draw(rng))
    assert len(drawn) > 500
    assert not asked & drawn


@every_model
def test_held_out_items_are_those_of_the_recipe(name):
    """The items beside the weights are drawn from the recipe as it stands."""
    assert held_out(name) == json.loads(json.dumps(RECIPES[name].held_out()))


@every_model
def test_any_text_is_encoded(name):
    """No text is refused, and every word of it is within some token, in order."""
    text = "Žluťoučký kůň, 東京 🚀 GPU\n\t{x: 1234} don't"
    encoded = load_tokenizer(name)(text, return_offsets_mapping=True)
    places = [pair for pair in encoded["offset_mapping"] if pair[0] < pair[1]]
    assert places == sorted(places)
    assert places[-1][1] == len(text)
    for word, (start, _) in pre_tokenizers.Whitespace().pre_tokenize_str(text):
        assert any(first <= start < last for first, last in places), word


def test_embedding_is_a_sentence_transformers_folder():
    """Modules, pooling and prompts are stated in the files that sentence-transformers reads."""
    folder = MODELS / "embedding"
    modules = [module["type"].rsplit(".", 1)[-1] for module in json.loads((folder / "modules.json").read_text())]
    assert modules == ["Transformer", "Pooling", "Normalize"]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] is True
    assert pooling["word_embedding_dimension"] == load_network("embedding").config.hidden_size
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]
    assert set(prompts) == {"query", "document"}
