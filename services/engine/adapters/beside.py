"""Adapters beside a model's layers: each row of a step is computed with the adapter that its request names."""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from services.engine.adapters.pairs import Pair
from services.engine.native.arena import Arena
from services.engine.native.library import Library
from services.engine.native.linear import NativeLinear, takes


@dataclass
class Picked:
    """The adapter of each token of the running forward, where GPU kernels add the products of adapters."""

    numbers: Tensor | None = None
    """int64 `[tokens]`: the index of each token's adapter, negative for none. None while no token has an adapter."""


@dataclass(frozen=True)
class Span:
    """Consecutive tokens of a step whose rows name the same adapter."""

    adapter: str
    start: int
    end: int


@dataclass(frozen=True)
class NamedAdapter:
    """An adapter that requests can name."""

    name: str
    revision: str
    """See Adapter."""
    tokenizer: PreTrainedTokenizerBase | None = None
    """Its own tokenizer, if it has one; its vocabulary is that of the model's."""


class AdaptersBeside:
    """The adapters of one model. Belongs to the thread that runs the model.

    Each layer that an adapter changes adds `scale * B (A x)` to its own result, for the tokens of rows that name the
    adapter. While no row names one, the layers compute what they would without adapters.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.layers: dict[str, ChangedLayer] = {}
        """The layers that adapters change, by name."""
        self._spans: Sequence[Span] = ()
        self.named: dict[str, NamedAdapter] = {}
        """The adapters by name."""
        self.byte_count = 0
        """Memory of all factors in bytes."""
        self.picked = Picked()
        self.joined = False
        """Whether one forward computes rows with and without adapters, in any order; see `picking`. On GPUs."""
        self.grouped = False
        """Whether one forward does so if the rows of each adapter are consecutive, as the native library needs. On
        CPUs.
        """
        self.set_aside: Callable[[Collection[str]], AbstractContextManager[None]] = lambda _: nullcontext()
        """Within its context, the model uses its own modules in the places of these names, instead of faster ones."""

    def add(self, adapter: NamedAdapter, pairs: dict[str, Pair]) -> None:
        """Adds an adapter, with its factors by layer name. Only possible before layers are fused."""
        if self.joined or self.grouped:
            raise RuntimeError("the adapters are part of fused layers already")
        self.named[adapter.name] = adapter
        for place, pair in pairs.items():
            layer = self.layers.get(place)
            if layer is None:
                module = self._model.get_submodule(place)
                layer = self.layers[place] = ChangedLayer(self, module)
                module.register_forward_hook(layer)
            layer.products[adapter.name] = _product(pair.first), _product(pair.second)
            self.byte_count += pair.first.nbytes + pair.second.nbytes

    @torch.inference_mode(False)
    @torch.no_grad()
    def pack(self, library: Library) -> None:
        """Packs factors for the native library where that is faster, which pads their columns to its panels.

        Used where rows with adapters run in a second forward. The result of a row then does not depend on other rows.
        Factors are packed one after another, so that few are in memory twice.
        """
        arena = Arena()
        for layer in self.layers.values():
            for name, (first, second) in layer.products.items():
                assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
                layer.products[name] = self._packed(library, first, arena), self._packed(library, second, arena)

    @contextmanager
    def applied(self, spans: Sequence[Span]) -> Generator[None]:
        """Within the context, a forward adds the products of adapters. The spans cover all of its tokens."""
        with nullcontext() if self.grouped else self.set_aside(self._changed):
            self._spans = spans
            try:
                yield
            finally:
                self._spans = ()

    @contextmanager
    def picking(self, numbers: Tensor) -> Generator[None]:
        """Within the context, a forward adds the products of adapters `numbers`, see Picked. Requires `joined`."""
        self.picked.numbers = numbers
        try:
            yield
        finally:
            self.picked.numbers = None

    def _packed(self, library: Library, product: nn.Linear, arena: Arena) -> nn.Linear | NativeLinear:
        """Returns the product packed for the library if that is faster. One that is part of a fused layer stays as it
        is.
        """
        weight: Tensor | None = product.weight
        if weight is None or not takes(library, product):
            return product
        packed = NativeLinear(library, [product], arena)
        self.byte_count += packed.byte_count - weight.nbytes
        return packed

    @property
    def numbers(self) -> dict[str, int]:
        """The index of each adapter by name."""
        return {name: number for number, name in enumerate(self.named)}

    @property
    def spans(self) -> Sequence[Span]:
        """The spans of the running forward; empty if no row names an adapter."""
        return self._spans

    @cached_property
    def _changed(self) -> frozenset[str]:
        """The names of all changed layers, and of all modules that contain one."""
        parts = [place.split(".") for place in self.layers]
        return frozenset(".".join(names[: i + 1]) for names in parts for i in range(len(names)))


class ChangedLayer:
    """A layer that adapters change. It is the forward hook that adds their products."""

    def __init__(self, adapters: AdaptersBeside, module: nn.Module) -> None:
        self._adapters, self.module = adapters, module
        self.products: dict[str, tuple[nn.Linear | NativeLinear, nn.Linear | NativeLinear]] = {}
        """A and B factor by adapter name."""
        self.add_picked: Callable[[Tensor, Tensor], None] | None = None
        """Adds the products of picked adapters to an output in place; None where a fused layer does that."""

    def factors(self, adapter: str) -> tuple[Tensor, Tensor]:
        """Returns the weights of an adapter's factors, before they become part of a fused layer."""
        first, second = self.products[adapter]
        assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
        return first.weight, second.weight

    def __call__(self, layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        """Adds the products of the adapters of its tokens to the output, in place."""
        spans = self._adapters.spans
        if self._adapters.picked.numbers is not None:
            if self.add_picked is None:
                raise RuntimeError(f"a {type(layer).__name__} computes that nobody adds adapters to")
            self.add_picked(output, given[0])
        if not spans:
            return
        tokens, results = given[0].flatten(0, -2), output.view(-1, output.shape[-1])
        if len(results) != spans[-1].end:
            raise RuntimeError(f"a {type(layer).__name__} is given {len(results)} tokens of {spans[-1].end}")
        for span in spans:
            if (pair := self.products.get(span.adapter)) is not None:
                first, second = pair
                results[span.start : span.end].add_(second(first(tokens[span.start : span.end])))


def _product(factor: Tensor) -> nn.Linear:
    """Returns the linear layer with this weight `[out, in]`."""
    linear = nn.Linear(factor.shape[1], factor.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(factor, requires_grad=False)
    return linear
