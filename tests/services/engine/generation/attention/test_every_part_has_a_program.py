"""How the decode kernel's programs share contexts, for random contexts."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import random
from itertools import count

import pytest
import torch

from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from tests.services.engine.kernel_devices import DEVICES

pytest.importorskip("triton")
import triton
import triton.language as tl

from services.engine.generation.attention.triton.decoding import chosen_part, shared_out
from services.engine.generation.attention.triton.plan import most_programs, part_tokens


@triton.jit
def tell(
    blocks, told, numbers, window, BLOCKS: tl.constexpr, N: tl.constexpr, PARTS: tl.constexpr, WINDOW: tl.constexpr,
    ROTATED: tl.constexpr,
):  # fmt: skip
    """Writes for each program its block and part, and the number of parts, their begin and their length."""
    number, part = chosen_part(blocks, numbers, window, BLOCKS, N, PARTS, WINDOW, ROTATED)
    at = told + tl.program_id(1) * 5
    tl.store(at, number)
    if number < numbers:
        own = blocks + number * 5
        queries, position = tl.load(own + 1).to(tl.int32), tl.load(own + 2).to(tl.int32)
        stored = position if ROTATED else position + queries
        tokens = tl.load(own + 4).to(tl.int32)
        begin, length, parts = shared_out(position, stored, tokens, window, N, PARTS, WINDOW)
        tl.store(at + 1, part)
        tl.store(at + 2, parts)
        tl.store(at + 3, begin + 0)
        tl.store(at + 4, length)


@pytest.mark.parametrize("device", DEVICES)
def test_each_part_of_each_context_has_one_program_and_together_they_take_all_of_it(device: str) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # shown where a test fails
    source = random.Random(seed)
    for turn in range(12):
        kv_heads, programs, n = source.choice([1, 2, 8]), source.choice([16, 100, 300]), source.choice([16, 32, 64])
        window, rotated = source.choice([0, 0, 40]), source.random() < 0.5
        contexts = [
            source.randrange(source.choice([1, 20, 300, 3000 if turn else 60_000]))
            for _ in range(source.randrange(1, 17))
        ]
        layout = LayerLayout(kv_heads, kv_heads, 16, 16, torch.float32)
        tokens = part_tokens(contexts, KVCache({0: layout}, 1, 16, torch.device("cpu"), by_token=True), programs)
        queries = [source.choice([0, 1, 1, 1] if rotated else [0, 1, 4]) for _ in contexts]
        table = [[0, own, context, 0, tokens] for own, context in zip(queries, contexts, strict=True)]
        most = most_programs(len(table), kv_heads, programs)
        told = torch.full((most, 5), -1, dtype=torch.int32, device=device)
        tell[(1, most)](
            torch.tensor(table, device=device), told, len(table), window, BLOCKS=16, N=n, PARTS=64, WINDOW=window > 0,
            ROTATED=rotated,
        )  # fmt: skip
        found = [row for row in told.tolist() if row[0] < len(table)]
        for number, (own, context) in enumerate(zip(queries, contexts, strict=True)):
            mine = [row for row in found if row[0] == number]
            assert [row[1] for row in mine] == list(range(mine[0][2] if own else 0))
            if own:
                _, _, parts, begin, length = mine[0]
                stored = context if rotated else context + own
                assert begin == (max(context + 1 - window, 0) // n * n if window else 0)
                assert begin + (parts - 1) * length <= max(stored, 1) <= max(begin + parts * length, 1)
                assert next(i for i in count(1) if i * n >= length) * n == length


@pytest.mark.parametrize(("rows", "context"), [(48, 1023), (24, 1023), (9, 4000)])
def test_there_are_no_more_parts_than_places(rows: int, context: int) -> None:
    layout, places = LayerLayout(8, 8, 16, 16, torch.float32), 1056 // 8
    cache = KVCache({0: layout}, 1, 16, torch.device("cpu"), by_token=True)
    even = -(-rows * context // places)
    assert rows * -(-context // even) > places  # the even share would give each row one part too many
    tokens = part_tokens([context] * rows + [0] * 16, cache, 1056)  # with padding rows
    assert even < tokens <= 2 * even
    assert places // 2 < rows * -(-context // tokens) <= places
