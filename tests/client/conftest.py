from collections.abc import AsyncIterator, Iterator

import pytest

from sensorium import AsyncClient, Client, Retry
from tests.client.fake import Fake, serving

FAST = Retry(first_wait=0.01)


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving() as fake:
        yield fake


@pytest.fixture
def client(fake: Fake) -> Iterator[Client]:
    with Client(fake.target, timeout=300, retry=FAST) as client:
        yield client


@pytest.fixture
async def async_client(fake: Fake) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(fake.target, timeout=300, retry=FAST) as client:
        yield client
