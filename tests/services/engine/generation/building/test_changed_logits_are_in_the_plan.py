"""What a device takes that changes the logits of all rows is no more than what is taken when memory is planned."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from services.engine.generation.building.largest_step import change_all
from services.engine.generation.sampling.device_changes import changes_of
from services.engine.generation.sampling.device_choice import numbers_of
from tests.services.engine.generation.sequences import sequence as sequence_of

ROWS, VOCABULARY = 4, 20_000


class Counted(TorchDispatchMode):
    """Counts the bytes of tensors that operations make, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known = weakref.WeakSet[Any]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in self._known:
                self._known.add(storage)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._gone, storage.nbytes())
        return made

    def _gone(self, size: int) -> None:
        self.now -= size


def most_bytes(run: Callable[[], object]) -> int:
    with Counted() as counted:
        run()
    return counted.most


def test_rows_that_want_everything_take_no_more_than_was_planned() -> None:
    fields = {"repetition_penalty": 1.2, "allowed_token_ids": (3, 4), "temperature": 1.0, "typical_p": 0.9}
    sequences = [sequence_of([5, 6], **fields) for _ in range(ROWS)]
    logits, likeliest = torch.randn(ROWS, VOCABULARY), torch.zeros(ROWS, dtype=torch.int64)
    drawn = numbers_of(sequences, [0] * ROWS)
    assert drawn is not None
    numbers = torch.from_numpy(drawn)

    def launch() -> None:
        kept = [changes_of(sequences, None, VOCABULARY, torch.device("cpu")) for _ in range(2)]
        for changes in kept:
            assert changes is not None
            changes.choose(logits, likeliest, numbers)

    taken, planned = most_bytes(launch), most_bytes(lambda: change_all(logits))
    assert 0.8 * planned < taken < 1.01 * planned
    assert taken > 10 * logits.nbytes
