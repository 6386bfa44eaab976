"""Runs batches of texts through a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.batching.job import Item
from services.engine.encoders.company import Company
from services.engine.encoders.tokens import TextTokens

Read = Callable[[Any, "TextBatch", Sequence[Item]], Sequence[Any]]
"""Extracts one value per item from a model's output, on the CPU and in its own memory."""


Focus = Callable[["TextBatch", Sequence[Item]], None]
"""Called with each batch before the model runs."""


@dataclass(frozen=True)
class TextBatch:
    """A batch of texts: tensors `[items, tokens]`, padded on the right."""

    input_ids: Tensor
    attention_mask: Tensor
    """1 for tokens, 0 for padding."""
    token_type_ids: Tensor | None


class TextRunner:
    """A BatchRunner over items whose inputs are TextTokens, or have them as `tokens`."""

    def __init__(
        self,
        model: PreTrainedModel,
        device: torch.device,
        pad_id: int,
        read: Read,
        focus: Focus | None = None,
        *,
        company: Company = Company.ANY,
    ) -> None:
        """`company` says which texts may share a batch."""
        self._model = model
        self._device = device
        self._pad_id = pad_id
        self._read = read
        self._focus = focus
        self._company = company

    @torch.inference_mode()
    def run(self, items: Sequence[Item]) -> Sequence[Any]:
        """See BatchRunner."""
        if self._company is Company.ANY:
            return self._together(items)
        groups: dict[int, list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault(len(tokens_of(item)) if self._company is Company.EVEN else place, []).append(place)
        found: dict[int, Any] = {}
        for places in groups.values():
            found |= zip(places, self._together([items[place] for place in places]), strict=True)
        return [found[place] for place in range(len(items))]

    def _together(self, items: Sequence[Item]) -> Sequence[Any]:
        batch = self._side_by_side([tokens_of(item) for item in items])
        if self._focus is not None:
            self._focus(batch, items)
        types = {} if batch.token_type_ids is None else {"token_type_ids": batch.token_type_ids}
        output = self._model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **types)
        return self._read(output, batch, items)

    def _side_by_side(self, texts: Sequence[TextTokens]) -> TextBatch:
        longest = max(map(len, texts))

        def padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
            filled = [[*row, *[filler] * (longest - len(row))] for row in rows]
            return torch.tensor(filled).to(self._device, non_blocking=True)

        types = [text.type_ids for text in texts if text.type_ids is not None]
        return TextBatch(
            input_ids=padded([text.ids for text in texts], self._pad_id),
            attention_mask=padded([[1] * len(text) for text in texts], 0),
            token_type_ids=padded(types, 0) if types else None,
        )


def tokens_of(item: Item) -> TextTokens:
    """Returns the tokens of an item."""
    return item.inputs if isinstance(item.inputs, TextTokens) else item.inputs.tokens
