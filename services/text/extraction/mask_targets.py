"""Finds the token ids of the targets of FillMask."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from sensorium.errors import Violation


class MaskTargets:
    """Looks up targets in the vocabulary of one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> None:
        """`vocabulary_size` is the number of tokens that the model has logits for."""
        self._tokenizer: Any = tokenizer
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self.vocabulary_size = vocabulary_size
        self.longest_bytes = max((len(piece.encode()) for piece in self._vocabulary), default=0)
        """Length in UTF-8 of the longest token, as spelled in the vocabulary."""

    def ids(self, targets: Sequence[str], wrong: list[Violation]) -> list[int]:
        """Returns the token ids of the targets without duplicates. A target that is not one token is a violation."""
        found: list[int] = []
        for i, target in enumerate(targets):
            token_id = self._id(target)
            if token_id is None:
                wrong.append(Violation(f"targets[{i}]", f"is not one token of the model: {target!r}"))
            else:
                found.append(token_id)
        return list(dict.fromkeys(found))

    def _id(self, target: str) -> int | None:
        """Returns the token spelled like this in the vocabulary, or the only token the text encodes to; else None."""
        token_id = self._vocabulary.get(target)
        if token_id is None:
            ids: list[int] = self._tokenizer(target, add_special_tokens=False)["input_ids"]
            token_id = ids[0] if len(ids) == 1 and ids[0] != self._tokenizer.unk_token_id else None
        return token_id if token_id is not None and token_id < self.vocabulary_size else None
