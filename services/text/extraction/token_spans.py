"""Joins labelled tokens to spans, as transformers' token classification pipeline does."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from services.engine.encoders.heads import Floats
from services.engine.encoders.tokens import TextTokens
from services.engine.threads.turns import resting
from services.text.understanding.ask import LabelledSpan

OUTSIDE = "O"
"""The label of tokens that belong to no entity."""

Integers = NDArray[np.intp]


class Aggregation(Enum):
    """How tokens are joined. Values are those of transformers' `aggregation_strategy`, names as in the contract."""

    NONE = "none"
    SIMPLE = "simple"
    FIRST = "first"
    AVERAGE = "average"
    MAX = "max"


@dataclass(frozen=True)
class LabelledTokens:
    """The tokens of a text, without special ones, and the probabilities of their labels, `[tokens, labels]`."""

    text: str
    ids: Integers
    starts: Integers
    ends: Integers
    """`starts` and `ends` are the tokens' offsets in the text, in code points."""
    scores: Floats

    @classmethod
    def of(cls, text: str, tokens: TextTokens, scores: Floats) -> "LabelledTokens":
        """Makes one from tokens with offsets, none of them special."""
        offsets = np.array(tokens.offsets, dtype=np.intp).reshape(-1, 2)
        return cls(text, np.array(tokens.ids, dtype=np.intp), offsets[:, 0], offsets[:, 1], scores)


class SpanMaker:
    """Makes spans for one model, from its labels and the word boundaries of its tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> None:
        fast: Any = tokenizer
        self._labels = labels
        parsed = [_parsed(label) for label in labels]
        self._kinds = [kind for _, kind in parsed]
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(self._kinds))}
        self._kind_numbers = np.array([numbers[kind] for kind in self._kinds])
        self._begins = np.array([begins for begins, _ in parsed])
        self._unknown_id = -1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id
        self._piece_lengths: Integers | None = None
        if getattr(fast.backend_tokenizer.model, "continuing_subword_prefix", None):
            vocabulary = tokenizer.get_vocab()
            self._piece_lengths = np.zeros(max(vocabulary.values()) + 1, dtype=np.intp)
            for piece, token_id in vocabulary.items():
                self._piece_lengths[token_id] = len(piece)

    def spans(self, tokens: LabelledTokens, aggregation: Aggregation, *, include_outside: bool) -> list[LabelledSpan]:
        """Returns the spans in text order. With `include_outside`, also those with the label OUTSIDE."""
        if not len(tokens.ids):
            return []
        first = np.arange(len(tokens.ids))  # index of the first token of each unit (token or word)
        scores = tokens.scores
        if aggregation not in (Aggregation.NONE, Aggregation.SIMPLE):
            first = np.flatnonzero(~self._continues_a_word(tokens))
            scores = _word_scores(scores, first, aggregation)
        last = np.append(first[1:], len(tokens.ids)) - 1
        labels = scores.argmax(axis=1)
        confidence = scores[np.arange(len(scores)), labels]
        starts, ends = tokens.starts[first], tokens.ends[last]
        if aggregation is Aggregation.NONE:
            named = [self._labels[int(label)] for label in labels]
        else:
            units = np.flatnonzero(self._opens_a_span(labels))
            behind = np.append(units[1:], len(labels))
            confidence = np.add.reduceat(confidence, units) / (behind - units)
            starts, ends = starts[units], ends[behind - 1]
            named = [self._kinds[int(label)] for label in labels[units]]
        return [
            LabelledSpan(name, float(score), tokens.text[start:end], int(start), int(end))
            for name, score, start, end in resting(zip(named, confidence, starts, ends, strict=True))
            if include_outside or name != OUTSIDE
        ]

    def _opens_a_span(self, labels: Integers) -> NDArray[np.bool_]:
        """Returns a mask of the units that start a new span."""
        kinds = self._kind_numbers[labels]
        opens = np.ones(len(labels), dtype=bool)
        opens[1:] = self._begins[labels[1:]] | (kinds[1:] != kinds[:-1])
        return opens

    def _continues_a_word(self, tokens: LabelledTokens) -> NDArray[np.bool_]:
        """Returns a mask of the tokens that continue the word of the token before.

        Vocabularies that mark such tokens ("##ing") spell them longer than the text they cover. In others, a word ends
        at a space. This repeats transformers' heuristic with its errors: if the tokenizer strips an accent that is a
        code point of its own, the lengths differ too.
        """
        if self._piece_lengths is not None:
            continues = self._piece_lengths[tokens.ids] != tokens.ends - tokens.starts
        else:
            points = np.frombuffer(f"{tokens.text}x".encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
            space = points == ord(" ")
            continues = (tokens.starts > 0) & ~(space[tokens.starts - 1] | space[tokens.starts])
        continues &= tokens.ids != self._unknown_id
        continues[0] = False
        return continues


def _parsed(label: str) -> tuple[bool, str]:
    """Returns whether a label always begins a new entity ("B-"), and the entity's kind without the prefix."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def _word_scores(scores: Floats, first: Integers, aggregation: Aggregation) -> Floats:
    """Returns the scores of words, `[words, labels]`, from those of their tokens, given each word's first token."""
    if aggregation is Aggregation.FIRST:
        return scores[first]
    if aggregation is Aggregation.AVERAGE:
        counts = np.diff(np.append(first, len(scores)))
        return (np.add.reduceat(scores, first) / counts[:, None]).astype(np.float32)
    best = scores.max(axis=1)
    words = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(scores))))
    # Sort by word, then by descending best score, then by position.
    order = np.lexsort((np.arange(len(scores)), -best, words))
    return scores[order[first]]
