import asyncio

from sensorium import AsyncClient, QueueFull, Retry
from tests.e2e.conftest import Checkpoints
from tests.e2e.requests import read, request
from tests.e2e.stack import running_stack


async def test_a_full_queue_refuses_with_a_time_to_come_back(checkpoints: Checkpoints) -> None:
    """One row, two places to wait: of ten requests at once the first three are served, the others told to come back."""
    async with running_stack(checkpoints("llama"), max_sequences=1, max_queued_requests=2, over_commit=100) as stack:
        results = await asyncio.gather(
            *(read(stack.client, request([9 + i], max_new_tokens=240, ignore_eos=True)) for i in range(10)),
            return_exceptions=True,
        )
    served = [result for result in results if not isinstance(result, BaseException)]
    refused = [result for result in results if isinstance(result, QueueFull)]
    assert len(served) + len(refused) == len(results)
    assert served
    assert refused
    assert all(len(result.token_ids) == 240 for result in served)
    for error in refused:
        assert error.retry_after is not None
        assert error.retry_after > 0


async def test_what_the_service_would_refuse_waits_in_the_gateway(checkpoints: Checkpoints) -> None:
    """The same service and the same ten requests, of which the gateway gives it no more than it has room for."""
    async with running_stack(checkpoints("llama"), max_sequences=1, max_queued_requests=2) as stack:
        results = await asyncio.gather(
            *(read(stack.client, request([9 + i], max_new_tokens=60, ignore_eos=True)) for i in range(10))
        )
    assert all(len(result.token_ids) == 60 for result in results)


async def test_a_client_told_to_comes_back_by_itself(checkpoints: Checkpoints) -> None:
    """With retries on a full queue, more requests than fit are all served in the end."""
    patient = Retry(attempts=20, when_queue_full=True)
    async with (
        running_stack(checkpoints("llama"), max_sequences=1, max_queued_requests=2, over_commit=100) as stack,
        AsyncClient(f"127.0.0.1:{stack.gateway.server.port}", retry=patient) as client,
    ):
        results = await asyncio.gather(
            *(read(client, request([9 + i], max_new_tokens=5, ignore_eos=True)) for i in range(6))
        )
        assert stack.text.metric("sensorium_engine_requests_total", finish_reason="max_new_tokens") == len(results)
    assert all(len(result.token_ids) == 5 for result in results)
