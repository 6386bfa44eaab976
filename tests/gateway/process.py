"""Runs the gateway as a separate process."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


class Process:
    """A running `python -m gateway` and the lines of its log so far."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.log: list[str] = []

    async def line(self, pattern: str) -> re.Match[str]:
        """Waits for the next log line that contains `pattern`; returns the match."""
        async with asyncio.timeout(PATIENCE):
            while text := (await self.child.stderr.readline()).decode():
                self.log.append(text)
                if found := re.search(pattern, text):
                    return found
        raise AssertionError(f"no {pattern!r} in: {''.join(self.log)}")

    async def exit_code(self) -> int:
        """Reads the rest of the log; returns the exit code."""
        async with asyncio.timeout(PATIENCE):
            self.log.append((await self.child.stderr.read()).decode())
            return await self.child.wait()


@asynccontextmanager
async def gateway(*arguments: str, **environment: str) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "gateway", *arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(child)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
