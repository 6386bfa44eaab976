"""A page with a question about it, as the tokens a model reads and where on the page they are."""

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
"""Left, upper, right and lower edge in thousandths of the page."""

_PADDED_TO = 32
"""Windows are padded to multiples of this, so that those of about one length share a batch."""
_NOWHERE = (0, 0, 0, 0)
_EVERYWHERE = (1000, 1000, 1000, 1000)


@dataclass(frozen=True)
class PageTokens:
    """A question and the words of a page, read together."""

    whole: TextTokens
    """The question first, the words second."""
    word_of: Sequence[int]
    """To which word each of the page's own tokens belongs."""


class PageReader:
    """Encodes without truncation and padding, which are state of a fast tokenizer that threads would share.

    Its methods may run in any thread.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context_tokens: int) -> None:
        """Takes the tokenizer of a model that reads up to `context_tokens`.

        Raises:
            ModelRefused: it does not tell to which word a token belongs, or reads words in a way that is not known.
        """
        self._tokenizer: Any = tokenizer
        self.context_tokens = context_tokens
        # Such a tokenizer is called with the words' places, and says where other tokens are.
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
        """Returns all tokens, however many."""
        encoded = self._backend.encode(question.split(), list(words), is_pretokenized=True)
        sequences = encoded.sequence_ids
        word_of = [word for word, of in zip(encoded.word_ids, sequences, strict=True) if of == 1]
        return PageTokens(TextTokens(encoded.ids, sequences, encoded.type_ids), word_of)

    def tensors(self, window: Window, page: PageTokens, boxes: Sequence[Box]) -> dict[str, Tensor]:
        """Returns what the model reads of a window, padded; `boxes` are those of the words."""
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
        """Returns where a token is that is of no word: the end of a sequence is elsewhere than all others."""
        return self._between if token == self._tokenizer.sep_token_id else _NOWHERE

    def _check(self) -> None:
        """Compares what is read with what the tokenizer itself reads."""
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
    """Returns where a box of a page of that size is, in the numbers models were trained on."""
    left, upper, right, lower = box
    return int(1000 * left / width), int(1000 * upper / height), int(1000 * right / width), int(1000 * lower / height)
