"""The client for asyncio: the same calls, awaited."""
