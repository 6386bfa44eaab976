import asyncio

from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import read, request
from tests.e2e.stack import running_stack

ROWS = 16


async def test_a_seeded_request_gets_the_same_tokens_alone_and_in_a_full_batch(checkpoints: Checkpoints) -> None:
    """Every row of the batch is taken, by requests with other seeds, temperatures and lengths."""
    mine = request([9, 8, 7], temperature=1.0, top_p=0.95, min_p=0.01, seed=1234, max_new_tokens=40)
    async with running_stack(checkpoints("llama"), max_sequences=ROWS) as stack:
        alone = await read(stack.client, mine)
        others = [
            read(stack.client, request([6 + i] * (1 + 3 * i), temperature=0.5 + i / 10, seed=i, max_new_tokens=60))
            for i in range(ROWS - 1)
        ]
        together, *_ = await asyncio.gather(read(stack.client, mine), *others)
        full = stack.text.metric("sensorium_engine_batch_size_count") - stack.text.metric(
            "sensorium_engine_batch_size_bucket", le="8.0"
        )
    assert full > 0, "the batch was never full"
    assert alone.started.seed == together.started.seed == 1234
    assert alone.token_ids == together.token_ids
    assert alone.text == together.text


async def test_a_chosen_seed_is_told_and_repeats_the_output(checkpoints: Checkpoints) -> None:
    asked = request([9, 8, 7], temperature=1.0, max_new_tokens=20)
    async with running_stack(checkpoints("llama")) as stack:
        first = await read(stack.client, asked)
        asked.parameters.seed = first.started.seed
        again = await read(stack.client, asked)
    assert first.token_ids == again.token_ids


async def test_an_interrupted_stream_goes_on_where_it_stopped(checkpoints: Checkpoints) -> None:
    """Resumed behind any delta, the rest is what the uninterrupted stream brought, and the finish is the same."""
    asked = request([9, 8, 7], temperature=1.0, seed=3, repetition_penalty=1.3, max_new_tokens=24)
    async with running_stack(checkpoints("llama")) as stack:
        whole = await read(stack.client, asked)
        for cut in (1, 7, 23):
            del asked.delivered[:]
            asked.delivered.add(token_ids=whole.token_ids[:cut])
            rest = await read(stack.client, asked)
            assert whole.token_ids[:cut] + rest.token_ids == whole.token_ids
            assert whole.text.endswith(rest.text)
            assert rest.finish == whole.finish
            assert rest.usage.output_token_count == whole.usage.output_token_count
