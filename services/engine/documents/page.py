"""Tokenizes a question and the words of a page, and pairs the tokens with boxes on the page (LayoutLM)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from services.engine.checkpoint import ModelRefused
from services.engine.encoders.tokens import TextTokens
from services.engine.encoders.windows import Window

Box = tuple[int, int, int, int]
"""`(x_min, y_min, x_max, y_max)` in thousandths of the page."""

_PADDED_TO = 32
"""Windows are padded to multiples of this many tokens, so that windows of similar length share a batch."""
_NOWHERE = (0, 0, 0, 0)
_EVERYWHERE = (1000, 1000, 1000, 1000)


@dataclass(frozen=True)
class PageTokens:
    """The tokens of a question and the words of a page."""

    whole: TextTokens
    """All tokens: the question is sequence 0, the words are sequence 1."""
    word_of: Sequence[int]
    """The index of the word that each token of sequence 1 belongs to."""


class PageReader:
    """Tokenizes questions and pages. Thread-safe.

    It turns off the tokenizer's own truncation and padding, because they are state that threads would share.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context_tokens: int) -> None:
        """Takes a model's tokenizer, and the most tokens that the model reads.

        Raises:
            ModelRefused: the tokenizer is not a fast one, or prepares words or boxes differently from this class.
        """
        self._tokenizer: Any = tokenizer
        self.context_tokens = context_tokens
        # LayoutLMv2 and v3 tokenizers take the words' boxes, and define the boxes of special tokens.
        self._takes_boxes = hasattr(tokenizer, "sep_token_box")
        found: Any = tuple(getattr(tokenizer, "sep_token_box", _EVERYWHERE))
        self._between: Box = found
        if not self._tokenizer.is_fast:
            raise ModelRefused(
                f"{type(tokenizer).__name__} does not tell to which word a token belongs. Put a tokenizer.json beside "
                "the weights: save_pretrained of the model's fast tokenizer writes it."
            )
        self._backend = self._tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._check()

    def read(self, question: str, words: Sequence[str]) -> PageTokens:
        """Returns all tokens, without truncation."""
        encoded = self._backend.encode(question.split(), list(words), is_pretokenized=True)
        sequences = encoded.sequence_ids
        word_of = [word for word, of in zip(encoded.word_ids, sequences, strict=True) if of == 1]
        return PageTokens(TextTokens(encoded.ids, sequences, encoded.type_ids), word_of)

    def tensors(self, window: Window, page: PageTokens, boxes: Sequence[Box]) -> dict[str, Tensor]:
        """Returns the model's inputs for a window, padded; `boxes` are those of all words of the page."""
        tokens = window.tokens
        own = iter(page.word_of[window.start : window.end])
        places = [boxes[next(own)] if of == 1 else self._beside(token) for token, of in _pairs(tokens)]
        padding = min(-len(tokens) % _PADDED_TO, self.context_tokens - len(tokens))
        columns = {
            "input_ids": (tokens.ids, self._tokenizer.pad_token_id or 0),
            "attention_mask": ([1] * len(tokens), 0),
            "token_type_ids": (tokens.type_ids or [0] * len(tokens), 0),
            "bbox": (places, _NOWHERE),
        }
        return {name: torch.tensor([*values, *[filler] * padding]) for name, (values, filler) in columns.items()}

    def _beside(self, token: int) -> Box:
        """Returns the box of a token that belongs to no word: separators have a box of their own."""
        return self._between if token == self._tokenizer.sep_token_id else _NOWHERE

    def _check(self) -> None:
        """Checks that ids and boxes equal those of the tokenizer's own call. Raises ModelRefused if not."""
        question, words = "What is it?", ["An", "invoice,", "No.", "12-a"]
        boxes: list[Box] = [(i, 20 + i, 300 + i, 400 + i) for i in range(len(words))]
        called = (
            {"text": [question], "text_pair": [words], "boxes": [[list(box) for box in boxes]]}
            if self._takes_boxes
            else {"text": question.split(), "text_pair": words, "is_split_into_words": True}
        )
        own = self._tokenizer(**called)
        ids, places = (own["input_ids"], own.get("bbox"))
        if self._takes_boxes:
            ids, places = ids[0], places[0]
        page = self.read(question, words)
        window = Window(page.whole, page.whole.sequences.index(1), 0, len(page.word_of), range(len(page.word_of)))
        found = self.tensors(window, page, boxes)["bbox"].tolist()[: len(ids)]
        if list(page.whole.ids) != list(ids) or (places is not None and found != [list(place) for place in places]):
            raise ModelRefused(f"{type(self._tokenizer).__name__} reads words with places in a way that is not known.")


def _pairs(tokens: TextTokens) -> list[tuple[int, int | None]]:
    return list(zip(tokens.ids, tokens.sequences, strict=True))


def thousandths(box: Sequence[float], width: int, height: int) -> Box:
    """Returns a box in thousandths of a page of this size, rounded down, as models were trained."""
    left, upper, right, lower = box
    return int(1000 * left / width), int(1000 * upper / height), int(1000 * right / width), int(1000 * lower / height)
