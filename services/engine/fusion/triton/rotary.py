"""Rotary cosines and sines looked up in a table by one kernel, instead of computed by a dozen."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from services.engine.fusion.survey import Observation
from services.engine.fusion.triton.launch import power

_MOST_BYTES = 256 << 20
_POSITIONS = 4096
"""Positions whose angles are computed at once."""

Angles = tuple[Tensor, Tensor]
"""Cosines and sines."""


class GpuRotary(nn.Module):
    """Looks up the cosines and sines of positions in a table that the model's own module has computed."""

    merged_groups: frozenset[int] = frozenset()
    """Groups of rows whose decode steps begin with one kernel that looks up angles too; see StepBeginning."""

    def __init__(self, own: nn.Module, table: Angles) -> None:
        super().__init__()
        self._own = own
        self.table = table
        """Cosines and sines `[positions, rotated]`."""
        self._ahead: tuple[Tensor, Angles] | None = None

    def forward(self, states: Tensor, position_ids: Tensor) -> Angles:
        """Returns cosines and sines `[1, T, rotated]` of positions `[1, T]`; other shapes go to the model's module."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] is position_ids:
            return ahead[1]
        cosines, sines = self.table
        if position_ids.dim() != 2 or len(position_ids) != 1:
            return self._own(states, position_ids)
        width, positions = cosines.shape[1], position_ids.contiguous()
        found = cosines.new_empty(2, 1, positions.shape[1], width)
        look_up[(positions.shape[1],)](
            cosines, sines, positions, found[0], found[1], WIDTH=width, BLOCK=power(width), num_warps=1
        )
        return found[0], found[1]

    def keep(self, position_ids: Tensor, angles: Angles) -> None:
        """Stores the angles of positions, a tensor that this module is likely to be called with next."""
        self._ahead = position_ids, angles

    def give_back(self) -> None:
        """Does nothing: the replaced module is unchanged."""


def is_rotary(module: nn.Module) -> bool:
    """Returns whether this is a rotary embedding, by its class name."""
    return type(module).__name__.endswith("RotaryEmbedding")


@torch.inference_mode()
def gpu_rotary(module: nn.Module, seen: Observation, length: int) -> GpuRotary | None:
    """Returns a table for positions below `length`, or None if angles depend on more than the position, or take too
    much memory.

    `seen` is a call of the module.
    """
    given = [*seen.arguments, *seen.named.values()]
    if len(given) != 2 or not isinstance(seen.output, tuple) or len(seen.output) != 2:
        return None
    states, positions, (cosine, sine) = given[0], given[1], seen.output
    one = isinstance(positions, Tensor) and positions.dim() == 2 and len(positions) == 1
    if not one or cosine.shape != sine.shape or cosine.shape[:-1] != positions.shape:
        return None
    width = cosine.shape[-1]
    if 2 * length * width * cosine.itemsize > _MOST_BYTES or int(positions.max()) >= length:
        return None
    places = torch.arange(length, device=positions.device).unsqueeze(0).split(_POSITIONS, dim=1)
    columns = zip(*(module(states, some) for some in places), strict=True)
    cosines, sines = (torch.cat(column, dim=1)[0] for column in columns)
    known = torch.equal(cosines[positions[0]], cosine[0]) and torch.equal(sines[positions[0]], sine[0])
    return GpuRotary(module, (cosines, sines)) if known else None


@triton.jit
def look_up(cosines, sines, positions, cosine, sine, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Copies one row of each table."""
    token = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    at = tl.load(positions + token) * WIDTH + columns
    tl.store(cosine + token * WIDTH + columns, tl.load(cosines + at, mask=inside), mask=inside)
    tl.store(sine + token * WIDTH + columns, tl.load(sines + at, mask=inside), mask=inside)
