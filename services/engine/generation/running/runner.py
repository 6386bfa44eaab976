"""Runs the model on the rows of one step, packed into one sequence."""

import inspect
import time
from collections.abc import Callable, Collection, Mapping
from collections.abc import Sequence as Sequences
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.adapters.beside import AdaptersBeside
from services.engine.generation.attention.backend import AttentionBackend, AttentionCall
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.recorded.launched_step import StepLauncher
from services.engine.generation.recorded.step_shape import StepShape
from services.engine.generation.running.adapted_rows import adapted, numbers_of, places_of, runs_of, spans_of
from services.engine.generation.running.media_rows import embedded, positions_of
from services.engine.generation.sequence import CachedTokens, Row


class Runner(Protocol):
    """What the engine needs of a model: to compute rows, and to copy the state of one sequence to another."""

    forward_seconds: float
    """Seconds spent in the model's forward so far."""

    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """Computes the rows' tokens and keeps what the next ones need. Running the same rows again is harmless.

        Returns float32 logits `[n, vocabulary]`, row after row: behind each of a row's first `scored` tokens, and then
        behind its last token if it completes its sequence.
        """
        ...

    def fork(self, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> None:
        """Gives the second of each pair what the first has computed, up to `computed`. Both then go on by themselves.

        They hold the same full pages already, and each the page behind those; no first is another pair's second.
        """
        ...


def partial_pages(page_size: int, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> tuple[list[int], list[int]]:
    """Returns the pages that the first of each pair is about to fill, and those of the second in their places."""
    partial = [(parent, child, parent.computed // page_size) for parent, child in pairs if parent.computed % page_size]
    return [parent.pages[place] for parent, _, place in partial], [child.pages[place] for _, child, place in partial]


def fork_pages(cache: KVCache, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> None:
    """Copies the page that the first of each pair is about to fill to the second, which holds the full ones already."""
    sources, targets = partial_pages(cache.page_size, pairs)
    if sources:
        cache.copy_pages(sources, targets)


def batch_of(rows: Collection[Row[CachedTokens]], cache: KVCache, device: torch.device) -> AttentionBatch:
    """Returns the places of the rows in the packed batch and in the cache."""
    slots: list[int] = []
    pages: list[int] = []
    for row in rows:
        first, own = row.sequence.computed, row.sequence.pages
        slots += cache.slots(own, first, first + row.token_count)
        pages += own
    all_pages = tensor_of(pages, device)  # one for all, as making tensors takes longer than filling them
    spans: list[RowSpan] = []
    start = page = 0
    for row in rows:
        held, context = len(row.sequence.pages), row.sequence.computed + row.token_count
        spans.append(RowSpan(start, row.token_count, context, all_pages[page : page + held]))
        start += row.token_count
        page += held
    return AttentionBatch(spans, tensor_of(slots, device), cache)


def tensor_of(values: Sequences[int], device: torch.device) -> Tensor:
    """Returns the numbers as int64 on the device."""
    tensor = torch.from_numpy(np.array(values, dtype=np.int64))
    return tensor if device.type == "cpu" else tensor.to(device)


def gathered(rows: Collection[Row[CachedTokens]]) -> tuple[list[int], list[int]]:
    """Returns the rows' tokens, one row's behind another's, and behind which of them logits are wanted; see Runner."""
    return list(chain.from_iterable(row.token_ids for row in rows)), wanted_of(rows)


def wanted_of(rows: Collection[Row[CachedTokens]]) -> list[int]:
    """Returns behind which of the rows' tokens logits are wanted."""
    wanted: list[int] = []
    end = 0
    for row in rows:
        start, end = end, end + row.token_count
        if row.scored:
            wanted += range(start, start + row.scored)
        if row.completes:
            wanted.append(end - 1)
    return wanted


class Recorded(StepLauncher, Protocol):
    """Forwards that were recorded as CUDA graphs and are replayed."""

    @property
    def reading_shapes(self) -> list[StepShape]:
        """Those of steps that read prompts, the smallest first; none where such steps are not recorded."""
        ...

    share: Callable[[Tensor], object] | None
    """Called with the tokens of each launched step, on the device, where other ranks need them; else None."""

    def shape_for(self, rows: Collection[Row[CachedTokens]]) -> StepShape | None:
        """Returns the recorded shape that fits these rows; None if none does."""
        ...

    def run(self, rows: Collection[Row[CachedTokens]], shape: StepShape) -> Tensor:
        """Computes what Runner.run does; `shape` is what `shape_for` returned."""
        ...

    def follow(self, rows: Collection[Row[CachedTokens]], sources: list[int]) -> None:
        """Takes part in a step that another rank launches, which chooses its tokens.

        `sources` says behind which token of the step before each row comes; empty where that is known.
        """
        ...


class Whole(Protocol):
    """Computes a whole decoder without the model's own forward."""

    def use(self, cache: KVCache) -> None:
        """Computes with these keys and values from now on."""
        ...

    def run(
        self,
        rows: Collection[Row[CachedTokens]],
        tokens: list[int],
        kept: list[int],
        places: Sequences[int] = (),
        runs: Sequences[int] = (),
    ) -> Tensor | None:
        """Returns logits behind the tokens `kept` of the rows' `tokens`; None if the rows are more than it knows.

        They come in the order of `places`, if that is given. `runs` see AttentionBatch.
        """
        ...


class ModelRunner:
    """A Runner of models whose state is the paged cache."""

    def __init__(
        self,
        model: PreTrainedModel,
        backend: AttentionBackend,
        cache: KVCache,
        device: torch.device,
        adapters: AdaptersBeside | None = None,
    ) -> None:
        """`adapters` are those that rows may name, if there are any."""
        self._model, self._adapters = model, adapters
        self._chooses = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.backend = backend
        self.cache = cache
        self._device = device
        self.recorded: Recorded | None = None
        """Recorded forwards, which are replayed for rows that fit them."""
        self.whole: Whole | None = None
        """Runs rows without media, if there is one."""
        self.stand_ins: Mapping[int, int] = {}
        """Tokens that the model's own forward embeds as others, which it does not do of rows beside embeddings."""
        self.allowed_error = 0.0
        """The relative error that its logits were allowed when compared with the model's own."""
        self.forward_seconds = 0.0

    def use(self, cache: KVCache) -> None:
        """Computes with these keys and values from now on, of layers as before; nothing is recorded yet."""
        self.cache = cache
        if self.whole is not None:
            self.whole.use(cache)

    @property
    def launcher(self) -> StepLauncher | None:
        """Launches steps ahead, where they are recorded; else None."""
        return self.recorded

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """See Runner. The same rows write the same slots."""
        if self._adapters is None or self._adapters.joined or not adapted(rows):
            return self._run(rows)
        return self._run_sorted([*rows], self._adapters)

    def _run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        if self.recorded is not None and (shape := self.recorded.shape_for(rows)):
            began = time.perf_counter()
            logits = self.recorded.run(rows, shape)
            self.forward_seconds += time.perf_counter() - began
            return logits
        tokens, wanted = gathered(rows)
        if self.stand_ins:
            tokens = [self.stand_ins.get(token, token) for token in tokens]
        kept = wanted or [len(tokens) - 1]
        logits = self._run_whole(rows, tokens, kept)
        if logits is None:
            with self._picking(rows):
                logits = self._forward(self._given(rows, tokens), kept, batch_of(rows, self.cache, self._device))
        return logits[: len(wanted)]

    def _picking(self, rows: Collection[Row[CachedTokens]]) -> AbstractContextManager[None]:
        """Has a forward of these rows add what their adapters compute, if they name any."""
        if self._adapters is None or not adapted(rows):
            return nullcontext()
        return self._adapters.picking(tensor_of(numbers_of(rows, self._adapters.numbers), self._device))

    def _run_sorted(self, rows: list[Row[CachedTokens]], adapters: AdaptersBeside) -> Tensor:
        """Computes the rows of each adapter side by side, and those of none in the same forward or as in any step."""
        order = sorted(range(len(rows)), key=lambda place: rows[place].sequence.adapter)
        places = places_of(rows, order)
        plain = [rows[place] for place in order if not (adapters.grouped or rows[place].sequence.adapter)]
        others = [rows[place] for place in order[len(plain) :]]
        tokens, wanted = gathered(others)
        kept, spans = wanted or [len(tokens) - 1], spans_of(others)
        runs = runs_of(spans, adapters.numbers) if adapters.grouped else []
        if runs:
            back = sorted(range(len(places)), key=places.__getitem__)
            logits = self._run_whole(others, tokens, kept, back, runs)
            if logits is not None:
                return logits[: len(wanted)]
        batch = replace(batch_of(others, self.cache, self._device), runs=runs)
        with adapters.applied(spans):
            logits = self._forward(self._given(others, tokens), kept, batch)[: len(wanted)]
        if plain:
            logits = torch.cat([self._run(plain), logits])
        return logits if places == [*range(len(places))] else logits[tensor_of(places, self._device)]

    def _run_whole(
        self, rows: Collection[Row[CachedTokens]], tokens: list[int], kept: list[int], *sorted_by: Sequences[int]
    ) -> Tensor | None:
        if self.whole is None:
            return None
        began = time.perf_counter()
        logits = self.whole.run(rows, tokens, kept, *sorted_by)
        self.forward_seconds += time.perf_counter() - began
        return logits

    @torch.inference_mode()
    def fork(self, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> None:
        """See Runner."""
        fork_pages(self.cache, pairs)

    def _given(self, rows: Collection[Row[CachedTokens]], tokens: list[int]) -> dict[str, Tensor]:
        """Returns what the model is given of the rows' tokens: ids or embeddings, and positions."""
        ids = tensor_of(tokens, self._device)
        if all(row.sequence.media is None for row in rows):
            places: list[int] = []
            for row in rows:
                places += range(row.sequence.computed, row.sequence.computed + row.token_count)
            return {"input_ids": ids.unsqueeze(0), "position_ids": tensor_of(places, self._device).unsqueeze(0)}
        positions = torch.from_numpy(positions_of(rows)).to(self._device)
        given = {"position_ids": positions if len(positions) == 1 else positions.unsqueeze(1)}
        embeds = embedded(rows, ids, self._model.get_input_embeddings())
        return given | ({"input_ids": ids.unsqueeze(0)} if embeds is None else {"inputs_embeds": embeds.unsqueeze(0)})

    def _forward(self, given: dict[str, Tensor], wanted: list[int], batch: AttentionBatch) -> Tensor:
        kept = tensor_of(wanted, self._device)
        call = AttentionCall(self.backend, self.backend.plan(batch), kept)
        chosen = {"logits_to_keep": kept} if self._chooses else {}
        began = time.perf_counter()
        output = self._model(**given, **chosen, use_cache=False, attention_call=call)
        self.forward_seconds += time.perf_counter() - began
        logits = output.logits[0] if self._chooses else output.logits[0, kept]
        return logits.float()
