"""Records the arguments and results of modules while the model runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 3e-3}
"""Relative error of a norm that rounding alone can cause, by dtype."""


@dataclass(frozen=True)
class Observation:
    """The arguments and the result of one call of a module."""

    arguments: tuple[Any, ...]
    named: dict[str, Any]
    output: Any
    """A tensor, or a tuple whose first item is a tensor."""

    @torch.inference_mode()
    def matches(self, module: Callable[..., Any], *, residual: bool = False) -> bool:
        """Returns whether `module` gives the recorded output for the recorded arguments, within rounding.

        With `residual`, the output is the input plus something, and the error is measured relative to that addend,
        since it may be small beside the input.
        """
        result = module(*self.arguments, **self.named)
        found, expected = _first(result), _first(self.output)
        if type(result) is not type(self.output) or found.shape != expected.shape or found.dtype != expected.dtype:
            return False
        exact = expected.float()
        added = exact - self._input().float() if residual else exact
        rounding = torch.finfo(found.dtype).eps * exact.norm()
        return bool((found.float() - exact).norm() <= TOLERANCE[found.dtype] * added.norm() + rounding)

    @torch.inference_mode()
    def depends_on_places(self, module: nn.Module, farthest: int) -> bool:
        """Returns whether the output changes if positions end at `farthest` but the angles stay the same.

        Ministral 3 scales queries by their positions, beyond the first thousands. Substitutes take only angles into
        account. No change is too small: attention to as few tokens as were observed changes less than to thousands.
        """
        places = self.named.get("position_ids")
        if not isinstance(places, Tensor):
            return False
        moved = {**self.named, "position_ids": places + (farthest - int(places.max()))}
        near, far = (_first(module(*self.arguments, **named)) for named in (self.named, moved))
        return not torch.equal(near, far)

    def _input(self) -> Tensor:
        return self.arguments[0] if self.arguments else self.named["hidden_states"]


@torch.inference_mode()
def observe(modules: Iterable[nn.Module], run: Callable[[], object]) -> dict[nn.Module, Observation]:
    """Returns the last call of each of `modules` during `run`, which runs the model. Modules that were not called are
    missing.
    """
    seen: dict[nn.Module, Observation] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        seen[module] = Observation(_kept(arguments), _kept(named), _kept(output))

    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in modules]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _kept(values: Any) -> Any:
    """Returns copies of all tensors, since a module may later change the originals in place."""
    if isinstance(values, Tensor):
        return values.clone()
    if isinstance(values, dict):
        return {name: _kept(value) for name, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_kept(value) for value in values)
    return values


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
