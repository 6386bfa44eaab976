"""The beginning of a step: the choice of its input tokens, and for steps that decode also their embeddings and rotary
angles in the same kernel.
"""

# ruff: noqa: N803 - constants of a kernel are written in capitals
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from transformers import PreTrainedModel
from triton.language.extra.cuda import gdc_launch_dependents

from services.engine.fusion.triton.launch import following, power
from services.engine.fusion.triton.rotary import GpuRotary
from services.engine.generation.attention.triton.tiles import group_of


class StepBeginning:
    """Makes the inputs of a model's forward. Which steps begin with one kernel is kept with the model's own modules."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._parts = _parts_of(model)

    @property
    def can_merge(self) -> bool:
        """Whether the model has one plain embedding and one table of angles, so that one kernel can look up both."""
        return self._parts is not None

    def merge(self, rows: int, merged: bool) -> None:
        """Lets steps of so many rows, and of all other numbers with the same tile, begin with one kernel, or not.

        Requires `can_merge`. The caller has to check that the model does nothing else with its tokens.
        """
        assert self._parts is not None
        rotary, groups = self._parts[1], {group_of(rows)}
        rotary.merged_groups = rotary.merged_groups | groups if merged else rotary.merged_groups - groups

    def is_merged(self, rows: int) -> bool:
        """Returns whether steps of so many rows begin with one kernel."""
        return self._parts is not None and group_of(rows) in self._parts[1].merged_groups

    def of(self, rows: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, Tensor]]:
        """Returns what makes the inputs of a step with so many rows that decode; 0: of a step of another kind."""
        return self.looked_up if rows and self.is_merged(rows) else self.tokens

    def tokens(self, given: Tensor, sources: Tensor, before: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """Returns the model's token ids and positions, both `[1, T]`: see `fill_in`."""
        tokens = torch.empty_like(given)
        fill_in(given, sources, before, tokens)
        return {"input_ids": tokens.unsqueeze(0), "position_ids": positions.unsqueeze(0)}

    def looked_up(self, given: Tensor, sources: Tensor, before: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """Returns the embeddings `[1, T, width]` of the same tokens, and positions `[1, T]` whose angles are ready.

        Requires `can_merge`. All tensors are contiguous.
        """
        assert self._parts is not None
        embedding, rotary = self._parts
        table, (cosines, sines) = embedding.weight.detach(), rotary.table
        states, places = table.new_empty(1, len(given), table.shape[1]), positions.unsqueeze(0)
        angles = cosines.new_empty(2, 1, len(given), cosines.shape[1])
        begin_row[(len(given),)](
            given, sources, before, positions, table, cosines, sines, states, angles[0], angles[1],
            WIDTH=table.shape[1], BLOCK=power(table.shape[1]), ROTATED=cosines.shape[1],
            ROTATED_BLOCK=power(cosines.shape[1]), EARLY=following(given.device)["EARLY"], num_warps=4,
        )  # fmt: skip
        rotary.keep(places, (angles[0], angles[1]))
        return {"inputs_embeds": states, "position_ids": places}


def _parts_of(model: PreTrainedModel) -> tuple[nn.Embedding, GpuRotary] | None:
    """Returns the embedding and the table of angles, or None if there are others or more of either."""
    rotaries = [module for module in model.modules() if isinstance(module, GpuRotary)]
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    if len(rotaries) != 1 or len(embeddings) != 1 or model.get_input_embeddings() is not embeddings[0]:
        return None
    [embedding] = embeddings
    plain = type(embedding) is nn.Embedding and embedding.max_norm is None and type(embedding.weight) is nn.Parameter
    return (embedding, rotaries[0]) if plain and embedding.weight.is_contiguous() else None


def fill_in(given: Tensor, sources: Tensor, before: Tensor, tokens: Tensor) -> None:
    """Writes `tokens` `[rows]`: `before[sources[row]]` where the source is not negative, else `given[row]`."""
    take_tokens[(1,)](given, sources, before, tokens, len(given), BLOCK=power(len(given)), num_warps=1)


@triton.jit
def take_tokens(given, sources, before, tokens, count, BLOCK: tl.constexpr):
    """See `fill_in`."""
    rows = tl.arange(0, BLOCK)
    there = rows < count
    source = tl.load(sources + rows, mask=there, other=-1)
    taken = tl.load(before + source, mask=there & (source >= 0), other=0)
    # A row whose token is -1 is about to fail, so any valid token may run in its place.
    token = tl.where(source >= 0, tl.maximum(taken, 0), tl.load(given + rows, mask=there, other=0))
    tl.store(tokens + rows, token, mask=there)


@triton.jit
def begin_row(
    given, sources, before, positions, embeddings, cosines, sines, states, cosine, sine,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROTATED: tl.constexpr, ROTATED_BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Copies the embedding of one row's token, chosen as in `take_tokens`, and the angles of its position.

    It is launched when all before has ended, as nothing may be read earlier; only the next kernel may begin early.
    """
    if EARLY:
        gdc_launch_dependents()
    row = tl.program_id(0).to(tl.int64)
    source, token, position = tl.load(sources + row), tl.load(given + row), tl.load(positions + row)
    columns, angles = tl.arange(0, BLOCK), tl.arange(0, ROTATED_BLOCK)
    turned, inside = angles < ROTATED, columns < WIDTH
    own_cosine = tl.load(cosines + position * ROTATED + angles, mask=turned)
    own_sine = tl.load(sines + position * ROTATED + angles, mask=turned)
    taken = tl.load(before + source, mask=source >= 0, other=0)
    token = tl.where(source >= 0, tl.maximum(taken, 0), token)
    state = tl.load(embeddings + token * WIDTH + columns, mask=inside)
    tl.store(cosine + row * ROTATED + angles, own_cosine, mask=turned)
    tl.store(sine + row * ROTATED + angles, own_sine, mask=turned)
    tl.store(states + row * WIDTH + columns, state, mask=inside)
