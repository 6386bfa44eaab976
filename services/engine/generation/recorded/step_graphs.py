"""Steps as CUDA graphs: the model's forward is recorded once for each of some shapes, and replayed.

Launching a model's hundreds of small kernels one by one takes longer than a small batch's arithmetic; a graph launches
them at once. It reads its inputs from fixed places, so rows are copied there first; a smaller batch is filled up with
tokens that are stored nowhere and see nothing.

Most steps decode. Those with proposed tokens have recordings of their own, by the number of tokens, whosever they are,
and so have those that read prompts. Tokens of one sequence attend to one another there, so all are stored before any
attends.

Where not all rows of a step that decodes are greedy, its tokens are chosen anew by a second recording behind its own.
Those of rows whose logits a request changes are then chosen by what is launched behind that, operation by operation.

Where adapters stay beside the model, each shape is recorded once more for steps in which a row names one: others launch
no kernel for them. Both write the same logits, and share the recorded choice.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.adapters.beside import AdaptersBeside
from services.engine.device.capture import Captures
from services.engine.fusion.triton.beginning import StepBeginning
from services.engine.fusion.triton.likeliest import LikeliestTokens
from services.engine.fusion.triton.transfer import carried
from services.engine.generation.attention.backend import AttentionCall
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.attention.triton.plan import (
    QueryBlocks,
    TritonPlan,
    most_queries,
    part_tokens,
    reading_queries,
)
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.recorded.replay import Replay, ReplayedStep, Sampling, Told, told_by_turns
from services.engine.generation.recorded.step_graph import Recordings, StepGraph
from services.engine.generation.recorded.step_inputs import StepInputs
from services.engine.generation.recorded.step_shape import Demand, Extent, Kind, StepShape, shapes_of
from services.engine.generation.recorded.transfer import Transfer, carries, copied
from services.engine.generation.running.adapted_rows import adapted
from services.engine.generation.sampling.device_changes import changes_of
from services.engine.generation.sampling.device_choice import NO_TOKEN, NUMBERS, Draws, choose, numbers_of, wishes_of
from services.engine.generation.sampling.device_likelihoods import likelihoods_of
from services.engine.generation.sequence import CachedTokens, Row, Sequence

log = logging.getLogger(__name__)


class StepGraphs:
    """The recorded shapes with the inputs they share. Belongs to the thread that runs the model."""

    def __init__(
        self,
        model: PreTrainedModel,
        backend: TritonAttention,
        cache: KVCache,
        device: torch.device,
        longest: int,
        adapters: AdaptersBeside | None = None,
    ) -> None:
        """Takes no sequence beyond `longest` tokens, and the adapters that rows may name, if they are joined."""
        self._model, self._backend, self._cache, self._device = model, backend, cache, device
        self.beginning = StepBeginning(model)
        self._adapters, self.longest, self._row_pages = adapters, longest, -(-longest // cache.page_size)
        self.share: Callable[[Tensor], object] | None = None
        """See Recorded."""
        self._graphs: dict[StepShape, StepGraph] = {}
        self._shared: dict[StepShape, Tensor] = {}  # logits, by the shapes of steps without adapters
        self._captures = Captures(device)
        # Tried by recordings in a pool of their own: a pool whose recordings are all gone cannot be used again.
        kernel = device.type == "cuda" and carries(partial(carried, Captures(device)), device)
        self._transfer: Transfer = partial(carried, self._captures) if kernel else copied
        self._inputs = self._inputs_for([])
        self._likeliest: LikeliestTokens | None = None
        self._tokens = torch.empty(0, dtype=torch.int64)
        self._told: Iterator[Told] = iter(())

    @torch.inference_mode()
    def record(self, most: int, extent: Extent, *, largest: bool = False) -> Recordings:
        """Records shapes for steps of up to `most` rows; if `largest`, one of each kind only.

        The largest comes first, whose memory the others use again, but for logits.

        Raises:
            Exception: the model's forward cannot be recorded. Nothing is used then.
        """
        kinds = shapes_of(extent, most, most_queries(self._cache), reading_queries(self._cache))
        shapes = [shape for kind in kinds for shape in kind]
        chosen = [kind[-1] for kind in kinds] if largest else shapes
        self.prepare(chosen)
        graphs = dict[StepShape, StepGraph]()
        for shape in sorted(chosen, key=lambda shape: (shape.size, shape.decoding), reverse=True):
            for own in (shape, shape.twin) if extent.adapted else (shape,):
                self._inputs.fill([], own)
                graphs[own] = self.recorded(own)
                self._shared[shape] = graphs[shape].logits
        self._graphs = {shape: graphs[shape] for shape in chosen}
        draws = self._record_draws()
        for shape in chosen if extent.adapted else ():
            self._graphs[shape.twin] = replace(graphs[shape.twin], draw=self._graphs[shape].draw)
        made, times = len(self._graphs) + draws, 1 + extent.adapted
        log.info("Steps are recorded in %d graphs, of up to %d tokens", made, len(self._tokens))
        left = sum(shape.outputs for shape in shapes) - sum(shape.outputs for shape in chosen)
        left_bytes = left * graphs[chosen[0]].logits[0].nbytes
        return Recordings(times * len(shapes) + (len(kinds[0]) if draws else 0), made, left_bytes)

    def _record_draws(self) -> int:
        """Records the choice of drawn tokens behind each step that decodes, if it can be. Returns how many it has.

        In other steps, whose shapes have far more places than rows with tokens, fewer are chosen without a recording.
        """
        decoding = [shape for shape in self._graphs if shape.kind is Kind.DECODING]
        drawn = dict[StepShape, StepGraph]()
        try:
            for shape in reversed(decoding):
                graph = self._graphs[shape]
                self._inputs.fill([], shape, sampling=np.empty((NUMBERS, 0)))
                self._tokens.fill_(NO_TOKEN)  # as no logits have been computed yet
                drawn[shape] = replace(graph, draw=self.recorded_draw(shape, graph.logits))
        except Exception as failure:  # a release of torch may have an operation that cannot be recorded
            log.warning("The choice of drawn tokens is not recorded: %s", failure)
            return 0
        self._graphs |= drawn
        return len(drawn)

    def prepare(self, shapes: Collection[StepShape]) -> None:
        """Makes room for the numbers of such steps, in place of those that were recorded."""
        self._graphs, self._shared, self._likeliest = {}, {}, None
        self._inputs, room = self._inputs_for(shapes), max(shape.size for shape in shapes)
        self._tokens = torch.zeros(room, dtype=torch.int64, device=self._device)
        self._told = told_by_turns(self._tokens[: max(shape.outputs for shape in shapes)], self._transfer)

    def fill(self, rows: Collection[Row[CachedTokens]], shape: StepShape) -> None:
        """Copies rows to where a recording of this shape reads them."""
        self._inputs.fill(rows, shape)

    @property
    def reading_shapes(self) -> list[StepShape]:
        """See Recorded."""
        return [shape for shape in self._graphs if shape.kind is Kind.READING and not shape.adapted]

    def shape_for(self, rows: Collection[Row[CachedTokens]]) -> StepShape | None:
        """Returns the recorded shape that takes these rows; None if none does."""
        if not all(row.sequence.plain for row in rows):
            return None
        if max(len(row.sequence.pages) for row in rows) > self._row_pages:
            return None
        demand = Demand.of(rows)
        return next((shape for shape in self._graphs if shape.size >= demand.tokens and shape.fits(demand)), None)

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]], shape: StepShape) -> Tensor:
        """Returns float32 logits `[n, vocabulary]`, as Runner.run does; `shape` is what `shape_for` returned."""
        graph = self._replay(rows, shape)
        return graph.logits[: sum(row.outputs for row in rows)].to(torch.float32, copy=True)

    @torch.inference_mode()
    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        """See StepLauncher."""
        began = time.monotonic()
        replay = self._again(rows, after) or self._filled(rows, after)
        if replay is None:
            return None
        replay.compute()
        if replay.waits:
            return replay.waiting(partial(self.choose, replay, began), began)
        return self.choose(replay, began)

    @torch.inference_mode()
    def choose(self, replay: Replay, began: float) -> LaunchedStep:
        """Chooses what is left to be chosen of a step that was launched. Returns it with its tokens on their way."""
        replay.change()
        if self.share is not None and replay.sequences:
            self.share(replay.chosen)
        return replay.tell(began)

    @torch.inference_mode()
    def follow(self, rows: Collection[Row[CachedTokens]], sources: list[int]) -> None:
        """See Recorded."""
        shape = self._shape_behind(rows) if sources else self.shape_for(rows)
        if shape is not None:
            self._replay(rows, shape, sources or None)
            assert self.share is not None
            if count := len(sources) or sum(row.outputs for row in rows):
                self.share(self._tokens[:count])

    def recorded(self, shape: StepShape) -> StepGraph:
        """Returns one shape, recorded."""
        return StepGraph(*self._captures.take(partial(self.forward, shape)))

    def recorded_draw(self, shape: StepShape, logits: Tensor) -> torch.cuda.CUDAGraph:
        """Returns the choice of the tokens of such a step by the numbers that are filled in, recorded."""
        return self._captures.take(partial(self.draw, shape, logits))[0]

    def draw(self, shape: StepShape, logits: Tensor) -> None:
        """Chooses the tokens behind the logits of a step by the numbers that were filled in."""
        tokens = self._tokens[: shape.outputs]
        tokens.copy_(choose(logits, tokens, self._inputs.numbers(shape)))

    def forward(self, shape: StepShape) -> Tensor:
        """Runs the model on the tokens that were filled in. Returns the logits of those that have outputs."""
        given, sources, positions, slots, numbers, blocks, listed, pages = self._inputs.parts(shape)
        begin = self.beginning.of(shape.size if shape.kind is Kind.DECODING else 0)
        plan = TritonPlan(
            self._cache,
            slots,
            pages,
            QueryBlocks(blocks[: shape.decoding], shape.queries) if shape.decoding else None,
            QueryBlocks(blocks[shape.decoding :], shape.span) if shape.reading else None,
            stored_first=shape.kind is not Kind.DECODING,
        )
        with self._adapters.picking(numbers) if self._adapters and shape.adapted else nullcontext():
            output = self._model(
                **begin(given, sources, self._tokens, positions),
                logits_to_keep=listed if shape.reading else 0,
                use_cache=False,
                attention_call=AttentionCall(self._backend, plan),
            )
        logits = output.logits[0]
        if self._likeliest is None:
            self._likeliest = LikeliestTokens(len(self._tokens), logits.shape[-1], self._device)
        self._likeliest.find(logits, self._tokens)
        shared = self._shared.get(shape.twin) if shape.adapted else None
        return logits if shared is None else shared.copy_(logits)

    def _inputs_for(self, shapes: Collection[StepShape]) -> StepInputs:
        numbers = self._adapters.numbers if self._adapters else {}
        return StepInputs(
            shapes, self._row_pages, self._cache.page_size, self._device,
            lambda contexts, blocks: part_tokens(contexts, self._cache, self._backend.programs(blocks)), numbers,
            self._transfer,
        )  # fmt: skip

    def _shape_behind(self, rows: Collection[Row[CachedTokens]]) -> StepShape | None:
        """Returns the shape of rows whose tokens the step before has yet to find."""
        if max(len(row.sequence.pages) for row in rows) > self._row_pages:
            return None
        fitting = (one for one in self._graphs if one.size >= len(rows) and one.adapted == adapted(rows))
        return next((one for one in fitting if one.kind is Kind.DECODING), None)

    def _again(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None) -> Replay | None:
        """Fills in the rows of the step before, each one token further; None where they are others, or lack room."""
        replay = after.replay if isinstance(after, ReplayedStep) else None
        if replay is None or replay.rows is not rows or replay.laid is None:
            return None
        changes = replay.changes
        if changes is not None and not changes.steps:
            return None
        draws = replay.sampling.draws.take() if replay.sampling is not None else None
        if not self._inputs.go_on(replay.laid, draws):
            return None
        if changes is not None:
            changes.go_on(replay.chosen)
        return replay

    def _filled(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None) -> Replay | None:
        """Fills in any rows; None where no recording takes them."""
        shape = self._shape_behind(rows) if after else self.shape_for(rows)
        if shape is None:
            return None
        if after:
            sequences, further = [row.sequence for row in rows], [1] * len(rows)
        else:
            sequences = [row.sequence for row in rows for _ in range(row.outputs)]
            further = [i for row in rows for i in range(row.outputs)]
        count, sources = len(sequences), [after.places[sequence] for sequence in sequences] if after else None
        numbers = numbers_of(sequences, further)
        laid = self._inputs.fill(rows, shape, sources, numbers)
        graph, chosen = self._graphs[shape], self._tokens[:count]
        sampling = None
        if numbers is not None:
            plain = any(wishes_of(one).none and not one.request.sampling.greedy for one in sequences)
            draw = None if graph.draw is None else graph.draw.replay
            sampling = Sampling(self._inputs.numbers(shape)[:, :count], Draws(sequences), draw, plain)
        changes = changes_of(sequences, sources, graph.logits.shape[-1], self._device)
        if changes is not None and sources is not None:
            changes.begin(self._tokens)
        likelihoods, logits = likelihoods_of(sequences, self._device), graph.logits[:count]
        return Replay(
            rows, sequences, laid, graph.graph.replay, logits, chosen, self._told, sampling, changes, likelihoods
        )

    def _replay(
        self, rows: Collection[Row[CachedTokens]], shape: StepShape, sources: list[int] | None = None
    ) -> StepGraph:
        self._inputs.fill(rows, shape, sources)
        graph = self._graphs[shape]
        graph.graph.replay()
        return graph
