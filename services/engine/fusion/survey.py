"""What modules are given and what they return, noted while the model runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 3e-3}
"""Relative error that rounding explains."""


@dataclass(frozen=True)
class Observation:
    """One call of a module."""

    arguments: tuple[Any, ...]
    named: dict[str, Any]
    output: Any
    """What it returned: a tensor, or a tuple whose first is one."""

    @torch.inference_mode()
    def matches(self, module: Callable[..., Any], *, residual: bool = False) -> bool:
        """Returns whether `module`, called like that, computes the same.

        With `residual`, its output is its input plus something, and what it adds is compared: that may be little.
        """
        result = module(*self.arguments, **self.named)
        found, expected = _first(result), _first(self.output)
        if type(result) is not type(self.output) or found.shape != expected.shape or found.dtype != expected.dtype:
            return False
        exact = expected.float()
        added = exact - self._input().float() if residual else exact
        rounding = torch.finfo(found.dtype).eps * exact.norm()
        return bool((found.float() - exact).norm() <= TOLERANCE[found.dtype] * added.norm() + rounding)

    def depends_on_places(self, module: nn.Module, farthest: int) -> bool:
        """Returns whether `module` computes something else by the same angles where its tokens end at `farthest`.

        Ministral 3 scales queries by their places, beyond the first thousands. Substitutes know of angles only.
        """
        places = self.named.get("position_ids")
        if not isinstance(places, Tensor):
            return False
        moved = {**self.named, "position_ids": places + (farthest - int(places.max()))}
        return not replace(self, named=moved).matches(module)

    def _input(self) -> Tensor:
        return self.arguments[0] if self.arguments else self.named["hidden_states"]


@torch.inference_mode()
def observe(modules: Iterable[nn.Module], run: Callable[[], object]) -> dict[nn.Module, Observation]:
    """Returns the last call of each of `modules` while `run` runs the model; none of those that were not called."""
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
    """Returns copies of the tensors given, as a module may work in place."""
    if isinstance(values, Tensor):
        return values.clone()
    if isinstance(values, dict):
        return {name: _kept(value) for name, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_kept(value) for value in values)
    return values


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
