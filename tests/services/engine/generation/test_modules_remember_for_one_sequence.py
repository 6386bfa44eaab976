import pytest
import torch
from torch import Tensor, nn

from services.engine.generation.cache.module_memory import ModuleMemory


class Recurrent(nn.Module):
    """Keeps a recurrent state between forwards, and a constant that never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.state: Tensor | None = None
        self.constant = torch.ones(1)

    def forward(self, inputs: Tensor) -> Tensor:
        self.state = inputs if self.state is None else self.state * 0.5 + inputs
        return self.state


class Rotary(nn.Module):
    """Replaces its frequencies when a longer sequence comes, as dynamic rotary embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.max_seq_len_cached = 4
        self.inv_freq = nn.Buffer(torch.ones(1), persistent=False)

    def forward(self, length: int) -> Tensor:
        if length > self.max_seq_len_cached:
            self.max_seq_len_cached = length
            self.register_buffer("inv_freq", torch.full((1,), 1.0 / length), persistent=False)
        return self.inv_freq


def test_what_changes_in_a_run_is_each_sequences_own() -> None:
    model = nn.Sequential(nn.Linear(1, 1), Recurrent())
    memory = ModuleMemory(model, lambda: model[1](torch.ones(1)))
    remembered = [memory.fresh, memory.fresh]
    outputs: list[list[float]] = [[], []]
    for _ in range(3):
        for i, value in enumerate((1.0, 8.0)):
            memory.recall(remembered[i])
            outputs[i].append(float(model[1](torch.tensor([value]))))
            remembered[i] = memory.take()
    assert outputs == [[1.0, 1.5, 1.75], [8.0, 12.0, 14.0]]
    assert len(memory.fresh) == 1


def test_frequencies_that_a_run_has_not_changed_yet_are_watched_too() -> None:
    model = nn.Sequential(Rotary())
    memory = ModuleMemory(model, lambda: model[0](2))
    assert float(model[0](10)) == pytest.approx(0.1)
    long = memory.take()
    memory.recall(memory.fresh)
    assert float(model[0](3)) == 1.0
    memory.recall(long)
    assert float(model[0](7)) == pytest.approx(0.1)
    assert model[0].max_seq_len_cached == 10


class RotaryByLayer(nn.Module):
    """Has frequencies for a type of layers, whose longest length gets a name once a sequence is longer."""

    def __init__(self) -> None:
        super().__init__()
        self.max_seq_len_cached = 4
        self.full_inv_freq = nn.Buffer(torch.ones(1), persistent=False)
        self.full_original_inv_freq = nn.Buffer(torch.ones(1), persistent=False)

    def forward(self, length: int) -> Tensor:
        if length > getattr(self, "full_max_seq_len_cached", self.max_seq_len_cached):
            self.full_max_seq_len_cached = length
            self.register_buffer("full_inv_freq", torch.full((1,), 1.0 / length), persistent=False)
        return self.full_inv_freq


def test_a_longest_length_that_is_named_later_is_each_sequences_own_too() -> None:
    model = nn.Sequential(RotaryByLayer())
    memory = ModuleMemory(model, lambda: model[0](2))
    assert float(model[0](10)) == pytest.approx(0.1)
    memory.recall(memory.fresh)
    assert float(model[0](8)) == pytest.approx(1 / 8)


def test_a_model_that_remembers_nothing_has_nothing_to_recall() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    memory = ModuleMemory(model, lambda: model(torch.ones(1, 2)))
    assert memory.fresh == memory.take() == ()
