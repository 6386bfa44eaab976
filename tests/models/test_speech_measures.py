"""What the cards of the speech models count, and what training is kept from."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from models.recipes.speech.alignment import way
from models.recipes.speech.measures import agreed, utterances, word_error_rate, word_errors
from models.recipes.speech.phrases import VOCABULARY, held_out_phrases, number, training_phrases
from models.recipes.speech.recordings import Recording, Word, begun, hesitated, resumed
from models.recipes.speech.voices import NAMES


def test_word_errors_are_the_fewest_changes():
    """Dropped, added and replaced words count one each, and moved ones no more than they must."""
    errors = {
        "set a timer for ten": 0,
        "set timer for ten": 1,
        "set a a timer for ten": 1,
        "set the timer for ten": 1,
        "a set timer for ten": 2,
        "": 5,
    }
    said = next(iter(errors)).split()
    assert {heard: word_errors(said, heard.split()) for heard in errors} == errors
    assert word_error_rate([("go left", "go left"), ("stop", "top"), ("", "yes")]) == pytest.approx(2 / 3)


def test_utterances_are_cut_where_it_is_quiet_for_long():
    """Two stretches of sound over noise are cut apart with padding; a short gap does not part them."""
    rng, rate = np.random.default_rng(1), 16000
    samples = rng.normal(0, 1e-3, 3 * rate).astype(np.float32)
    for start, end in ((0.5, 1.0), (1.15, 1.5), (2.2, 2.6)):
        samples[int(start * rate) : int(end * rate)] += np.sin(np.arange(int(end * rate) - int(start * rate)) / 5)
    lengths = [len(part) / rate for part in utterances(samples, rate)]
    assert lengths == pytest.approx([1.4, 0.8], abs=0.05)
    assert len(utterances(samples[: rate // 4], rate)) == 1


def test_agreed_words_are_those_two_readings_begin_with():
    """A word counts from its second reading in a row, and stays though a later reading differs."""
    assert agreed(["go", "go left", "go left", "go right now", "go right now"]) == ["go", "left", "now"]
    assert agreed(["", "stop"]) == []


def test_the_alignment_is_the_likeliest_of_all():
    """The dynamic program finds what trying every way finds."""
    densities = np.random.default_rng(2).normal(size=(7, 4)).astype(np.float32)
    ways = [counts for counts in product(range(1, 8), repeat=4) if sum(counts) == 7]
    best = max(ways, key=lambda c: densities[np.arange(7), np.repeat(np.arange(4), c)].sum())
    assert tuple(way(densities)) == best


def test_cut_recordings_name_the_words_still_in_them():
    """Whatever is cut off or put in, each word named lies in the recording, nearly whole, where its samples are."""
    words = tuple(Word(f"w{i}", 1000 * i + 200, 1000 * i + 900) for i in range(5))
    samples = np.zeros(5000, np.float32)
    for i, word in enumerate(words):
        samples[word.start : word.end] = i + 1
    for seed in range(200):
        rng = np.random.default_rng(seed)
        for change in (begun, resumed, hesitated):
            changed = change(rng, Recording(samples, words))
            for word in changed.words:
                heard = changed.samples[max(0, word.start) : word.end] == int(word.text[1]) + 1
                assert heard.sum() >= 0.89 * 700
            there = {int(value) - 1 for value in set(changed.samples) - {0.0}}
            for lost in there - {int(word.text[1]) for word in changed.words}:
                assert (changed.samples == lost + 1).sum() <= 0.41 * 700


def test_training_is_kept_from_what_is_held_out():
    """No voice is on both sides, and no text of four words or more."""
    spoken = NAMES["espeak"]
    assert not set(spoken["timbres"]) & set(spoken["held_out"]["timbres"])
    assert not set(spoken["accents"]) & set(spoken["held_out"]["accents"])
    assert not NAMES["flite"]["voices"].keys() & NAMES["flite"]["held_out"].keys()
    rng = np.random.default_rng(3)
    held_out, trained = set(held_out_phrases(rng, 500)), set(training_phrases(rng, 5000))
    assert all(len(text.split()) < 4 for text in held_out & trained)
    assert {word for text in held_out | trained for word in text.split()} <= set(VOCABULARY)
    assert (number(0), number(40), number(615)) == ("zero", "forty", "six hundred fifteen")
