"""Fakes of what a text servicer calls and is called with."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.engine.language.texts import EncodedText
from services.generation.ask import Generation, GenerationAsk
from tests.services.generation.generations import generation

T = TypeVar("T")


class Context:
    """The part of a gRPC context that a servicer uses."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds

    def time_remaining(self) -> float | None:
        return self._seconds


class FakeGenerator:
    def __init__(self) -> None:
        self.asks: list[GenerationAsk] = []
        self.answer: Generation | Exception = generation()

    async def start(self, ask: GenerationAsk) -> Generation:
        self.asks.append(ask)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def start_all(self, make: Callable[[], list[GenerationAsk]], _structured: object) -> list[Generation]:
        return [await self.start(ask) for ask in await asyncio.to_thread(make)]

    @property
    def cancelled(self) -> int:
        assert isinstance(self.answer, Generation)
        return self.answer.stream.cancelled  # type: ignore[attr-defined]


class FakeTokenizer:
    def __init__(self) -> None:
        self.options: list[bool] = []

    async def tokenize(
        self, texts: list[str], convert: Callable[[EncodedText], T], *, add_special_tokens: bool
    ) -> list[T]:
        self.options.append(add_special_tokens)
        return [
            convert(EncodedText(range(n := len(text)), text, [(i, i + 1) for i in range(n)], frozenset()))
            for text in texts
        ]

    async def detokenize(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        self.options.append(skip_special_tokens)
        return ["".join(map(chr, ids)) for ids in sequences]
