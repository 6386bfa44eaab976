"""Adapters that stay beside a model's own layers: each row of a step is computed with the one that it names."""

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
    """With which adapter each token of a forward is computed, where kernels add what adapters compute."""

    numbers: Tensor | None = None
    """int64 `[tokens]`, the place of each token's adapter among all, negative where it has none; None of no forward."""


@dataclass(frozen=True)
class Span:
    """Tokens of a step, one behind the other, of rows that name one adapter."""

    adapter: str
    start: int
    end: int


@dataclass(frozen=True)
class NamedAdapter:
    """What requests name."""

    name: str
    revision: str
    """See Adapter."""
    tokenizer: PreTrainedTokenizerBase | None = None
    """Its own, if it brings one, with the tokens of the model's."""


class AdaptersBeside:
    """Adapters of one model. Belongs to the thread that runs the model.

    Each layer that one of them changes adds `scale * B (A x)` to its own result, for the tokens of those rows that
    name it. While no rows do, the layers do nothing else than before.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.layers: dict[str, ChangedLayer] = {}
        """What the adapters change, by name."""
        self._spans: Sequence[Span] = ()
        self.named: dict[str, NamedAdapter] = {}
        """By their names."""
        self.byte_count = 0
        """What all their factors take of memory."""
        self.picked = Picked()
        self.joined = False
        """Whether rows with adapters are computed in one forward with the others, which `picking` tells them apart."""
        self.grouped = False
        """Whether they are in one where those of each adapter lie side by side, as the native library adds it up."""
        self.set_aside: Callable[[Collection[str]], AbstractContextManager[None]] = lambda _: nullcontext()
        """Has the model's own modules compute where modules of these names were replaced by faster ones."""

    def add(self, adapter: NamedAdapter, pairs: dict[str, Pair]) -> None:
        """Adds an adapter with its factors by the names of layers, before layers are fused."""
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
        """Has the library compute the products where that is faster, which fills their columns up to its panels.

        For rows that are computed apart from others: a row's bits depend on no company then. One factor after the
        other, so that memory has hardly any twice.
        """
        arena = Arena()
        for layer in self.layers.values():
            for name, (first, second) in layer.products.items():
                assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
                layer.products[name] = self._packed(library, first, arena), self._packed(library, second, arena)

    @contextmanager
    def applied(self, spans: Sequence[Span]) -> Generator[None]:
        """Has a forward of the model add what the adapters of its tokens compute; each token is part of one span."""
        with nullcontext() if self.grouped else self.set_aside(self._changed):
            self._spans = spans
            try:
                yield
            finally:
                self._spans = ()

    @contextmanager
    def picking(self, numbers: Tensor) -> Generator[None]:
        """Has a forward of the model, once rows are joined, add what the adapters of its tokens compute; see Picked."""
        self.picked.numbers = numbers
        try:
            yield
        finally:
            self.picked.numbers = None

    def _packed(self, library: Library, product: nn.Linear, arena: Arena) -> nn.Linear | NativeLinear:
        """Returns the product by the library where it computes that faster; one that is part of another stays."""
        weight: Tensor | None = product.weight
        if weight is None or not takes(library, product):
            return product
        packed = NativeLinear(library, [product], arena)
        self.byte_count += packed.byte_count - weight.nbytes
        return packed

    @property
    def numbers(self) -> dict[str, int]:
        """The places of adapters among all, by their names."""
        return {name: number for number, name in enumerate(self.named)}

    @property
    def spans(self) -> Sequence[Span]:
        """Those of the forward that runs; none where no adapter is named."""
        return self._spans

    @cached_property
    def _changed(self) -> frozenset[str]:
        """The names of all layers that are changed, and of what they are part of."""
        parts = [place.split(".") for place in self.layers]
        return frozenset(".".join(names[: i + 1]) for names in parts for i in range(len(names)))


class ChangedLayer:
    """A layer that adapters change, and the forward hook that does it."""

    def __init__(self, adapters: AdaptersBeside, module: nn.Module) -> None:
        self._adapters, self.module = adapters, module
        self.products: dict[str, tuple[nn.Linear | NativeLinear, nn.Linear | NativeLinear]] = {}
        """By the names of adapters."""
        self.add_picked: Callable[[Tensor, Tensor], None] | None = None
        """Adds to results what picked adapters compute of tokens, where the module itself computes in such steps."""

    def factors(self, adapter: str) -> tuple[Tensor, Tensor]:
        """Returns those of an adapter, which are no parts of others yet."""
        first, second = self.products[adapter]
        assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
        return first.weight, second.weight

    def __call__(self, layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        """Adds to an output what the adapters of its tokens compute of what was given."""
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
    """Returns the product with a factor `[out, in]`."""
    linear = nn.Linear(factor.shape[1], factor.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(factor, requires_grad=False)
    return linear
