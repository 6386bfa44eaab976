"""Example traffic for the boards: chats, calls of every task, and typical mistakes."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

from local.exhibits.exhibit import items_of
from local.exhibits.tour import EXHIBITS
from local.fleet import Member
from sensorium import Client, SensoriumError
from sensorium.client.generation import GenerationOptions
from sensorium.v1.common_pb2 import PromptLookup
from sensorium.v1.text_pb2 import TokenizeRequest

QUESTIONS = (
    "What is continuous batching?",
    "Hello! My name is Ada.",
    "What is a KV cache?",
    "What does a gateway do?",
)
_PAUSE_SECONDS = 0.05
_ROUNDS_PER_HURRY = 8
"""Rare enough to leave some of the error budget."""
_HURRY: GenerationOptions = {"min_new_tokens": 150, "max_new_tokens": 150, "timeout": 0.1}
"""Options of a call that must miss its deadline."""


class Traffic:
    """Inside `with`, a few threads make calls in a loop: chats, all exhibits, and mistakes."""

    def __init__(self, target: str, members: Sequence[Member], talkers: int = 2) -> None:
        self._target = target
        self._members = [member for member in members if member.name in EXHIBITS]
        self._chats = [member.name for member in members if member.name == "chat"]
        self._callers: list[Callable[[Client], Iterator[object]]] = [self._ask, self._err]
        self._callers += [self._talk] * (talkers if self._chats else 0)
        self._calling: list[Future[None]] = []
        self._rounds = itertools.count()
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(len(self._callers), thread_name_prefix="caller")

    def __enter__(self) -> Self:
        self._calling = [self._threads.submit(self._call, caller) for caller in self._callers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._threads.shutdown()
        if error is None:
            for caller in self._calling:
                caller.result()  # raises exceptions other than SensoriumError, which are bugs of the caller

    def _call(self, caller: Callable[[Client], Iterator[object]]) -> None:
        """Makes calls until the exit; ignores their errors, which the boards show."""
        with Client(self._target, timeout=60) as client:
            while not self._over.wait(_PAUSE_SECONDS):
                with suppress(SensoriumError):
                    for _ in caller(client):
                        if self._over.wait(_PAUSE_SECONDS):
                            return

    def _talk(self, client: Client) -> Iterator[object]:
        for question in QUESTIONS:
            yield list(client.text.stream_chat(question, max_new_tokens=40, prompt_lookup=PromptLookup()))

    def _ask(self, client: Client) -> Iterator[object]:
        for member in self._members:
            yield from EXHIBITS[member.name].ask(client, member.folder, items_of(member.folder))

    def _err(self, client: Client) -> Iterator[object]:
        """Cancels a stream, sends an empty request, names an unknown model, and sets too short a deadline."""
        if self._chats:
            yield list(itertools.islice(client.text.stream_chat(QUESTIONS[0]), 3))
        for model in (*self._chats, "nobody"):
            with suppress(SensoriumError):
                yield client.text.tokenize(TokenizeRequest(model=model))
            yield self._over.wait(1)
        if self._chats and next(self._rounds) % _ROUNDS_PER_HURRY == 0:
            yield list(client.text.stream_chat(QUESTIONS[0], **_HURRY))
