"""The verb FillMask: the likeliest tokens for the masked positions of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.numbers import are_numbers
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.encoders.chosen_rows import ChosenRows
from services.engine.encoders.runner import TextBatch
from services.engine.encoders.tokens import TextTokens
from services.text.extraction.mask_targets import MaskTargets
from services.text.extraction.masked_places import MaskedText, MaskReader
from services.text.understanding.ask import FillMaskAsk, MaskCandidate
from services.text.understanding.text_list import TextList, collecting, require_at_least_one

_CANDIDATES = 5
_FRAME_BYTES = 32
"""Bytes of a candidate in a response message, not counting its texts."""

Places = Sequence[Sequence[MaskCandidate]]
"""The candidates, best first, of each masked position of one text."""


@dataclass(frozen=True, eq=False)
class _Masked:
    """The model's inputs for a text, its masked positions, and how many candidates are wanted for each."""

    tokens: TextTokens
    places: Sequence[int]
    """Indices of the mask tokens."""
    targets: Sequence[int]
    """Token ids to choose from; empty: the whole vocabulary."""
    top_k: int


@dataclass(frozen=True)
class Likeliest:
    """The likeliest tokens for one masked position, best first."""

    token_ids: list[int]
    scores: list[float]


class CandidateReader:
    """Reads the candidates for masked positions from a model's output. For TextRunner."""

    def __init__(self, rows: ChosenRows) -> None:
        self._rows = rows

    def focus(self, batch: TextBatch, items: Sequence[Item]) -> None:
        """Lets the model's head compute logits for the masked positions only, if it supports that."""
        places = [item.inputs.places for item in items]
        self._rows.want(places, batch.input_ids.device)

    def read(self, output: Any, _batch: TextBatch, items: Sequence[Item]) -> Sequence[list[Likeliest] | None]:
        """Returns the likeliest candidates for each masked position of each item, None if their scores are NaN.

        They are selected on the device, because copying the scores of the whole vocabulary would be slow.
        """
        wanted: list[_Masked] = [item.inputs for item in items]
        rows = self._rows.taken(output.logits).split([len(of.places) for of in wanted])
        return [_likeliest(logits, of) for logits, of in zip(rows, wanted, strict=True)]


def _likeliest(logits: Tensor, wanted: _Masked) -> list[Likeliest] | None:
    chances = logits.float().softmax(dim=-1)
    if wanted.targets:
        targets = torch.tensor(wanted.targets, device=logits.device)
        scores, places = chances[:, targets].topk(wanted.top_k)
        ids = targets[places]
    else:
        scores, ids = chances.topk(wanted.top_k)
    scores = scores.cpu()
    if not are_numbers(scores):
        return None
    return [Likeliest(*both) for both in zip(ids.tolist(), scores.tolist(), strict=True)]


class MaskFiller:
    """Fills the masks in the texts of a request. If one text is invalid, the whole request fails."""

    def __init__(
        self, pipeline: Pipeline, masks: MaskReader, targets: MaskTargets, texts: TextList, most_bytes: int
    ) -> None:
        """`most_bytes` is the most that a response's candidates may take."""
        self._pipeline = pipeline
        self._masks = masks
        self._targets = targets
        self._texts = texts
        self._most_bytes = most_bytes

    async def fill_mask(self, ask: FillMaskAsk) -> Answer[Sequence[Places]]:
        """Returns the candidates for each masked position of each text.

        Raises:
            InvalidArgument: there are no texts or too many; a text has no mask, is too long, or would lose a mask by
                truncation; a target is not a single token; or an option is out of range.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: FillMaskAsk) -> Prepared[Sequence[Places]]:
        wrong = list(ask.input.violations)
        require_at_least_one(wrong, top_k=ask.top_k)
        targets = self._targets.ids(ask.targets, wrong)
        most = len(targets) if ask.targets else self._targets.vocabulary_size
        top_k = min((most if ask.targets else _CANDIDATES) if ask.top_k is None else ask.top_k, most)
        texts = self._read(ask, wrong)
        if top_k * sum(map(self._candidate_bytes, texts)) > self._most_bytes:
            wrong.append(Violation("top_k", f"{top_k} candidates for each place are more than a message may hold"))
        if wrong:
            raise InvalidArgument(wrong)
        items = [Item(_Masked(text.tokens, text.places, targets, top_k), len(text.tokens)) for text in texts]
        return Prepared(items, lambda outputs: self._finish(texts, outputs), sum(item.length for item in items))

    def _read(self, ask: FillMaskAsk, wrong: list[Violation]) -> list[MaskedText]:
        texts: list[MaskedText] = []
        if ask.mask == "":
            wrong.append(Violation("mask", "must not be empty"))
        mask = ask.mask or self._masks.mask
        for i, text in enumerate(self._texts.check(ask.input.texts, wrong)):
            if text and ask.mask != "":
                with collecting(wrong):
                    texts.append(self._masks.read(text, mask, ask.input.truncation, field=f"texts[{i}]"))
        return texts

    def _finish(self, texts: Sequence[MaskedText], outputs: Sequence[list[Likeliest]]) -> list[Places]:
        return [
            [self._candidates(text, place, likeliest) for place, likeliest in enumerate(places)]
            for text, places in zip(texts, outputs, strict=True)
        ]

    def _candidates(self, text: MaskedText, place: int, likeliest: Likeliest) -> list[MaskCandidate]:
        masks = self._masks
        return [
            MaskCandidate(token_id, masks.alone(token_id), score, masks.filled(text, place, token_id))
            for token_id, score in zip(likeliest.token_ids, likeliest.scores, strict=True)
        ]

    def _candidate_bytes(self, text: MaskedText) -> int:
        """Returns the most bytes that one candidate for each mask of a text can take in a response message."""
        each = len(text.text.encode()) + 2 * self._targets.longest_bytes + _FRAME_BYTES
        return len(text.places) * each
