import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sensorium.v1.text_pb2 import TokenizeResponse
from services.engine.admission import Admission, QueueLimits
from services.engine.encoders.reader import TextReader
from services.engine.encoders.tokens import TextTokens
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import EncodedText
from services.engine.threads import turns
from services.engine.threads.preprocessing import AT_ONCE, Preprocessing
from services.engine.threads.turns import give_way
from services.text.extraction.answer_pieces import ContextPieces
from services.text.extraction.token_spans import Aggregation, LabelledTokens, SpanMaker
from services.text.response_conversion import add_tokens
from tests.tiny.encoders import wordpiece

MANY = 10_000


@pytest.fixture
def preprocessing() -> Iterator[Preprocessing]:
    made = Preprocessing(Admission(QueueLimits(requests=99)))
    yield made
    made.close()


async def test_one_text_does_not_wait_for_many(preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", -1.0)
    done = threading.Event()

    def many() -> bool:
        until = time.monotonic() + 60
        while not done.wait(0.001) and time.monotonic() < until:
            give_way()
        return done.is_set()

    found = await asyncio.gather(*(preprocessing.run(many) for _ in range(AT_ONCE)), preprocessing.run(done.set))
    assert found == [True] * AT_ONCE + [None]


async def test_no_more_work_at_once_than_may(preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", -1.0)
    working: list[int] = []
    most = 0

    def some() -> None:
        nonlocal most
        for _ in range(50):
            working.append(1)
            most = max(most, len(working))
            time.sleep(0)
            working.pop()
            give_way()

    await asyncio.gather(*(preprocessing.run(some) for _ in range(12)))
    assert 1 <= most <= AT_ONCE


async def test_what_is_given_up_before_its_turn_is_not_done(preprocessing: Preprocessing) -> None:
    free, begun = threading.Event(), threading.Barrier(AT_ONCE + 1)

    def hold() -> None:
        begun.wait()
        free.wait()

    holding = [asyncio.ensure_future(preprocessing.run(hold)) for _ in range(AT_ONCE)]
    await asyncio.to_thread(begun.wait)
    done: list[str] = []
    late = asyncio.ensure_future(preprocessing.run(lambda: done.append("late")))
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    free.set()
    await asyncio.gather(*holding)
    await preprocessing.run(lambda: done.append("next"))
    assert done == ["next"]


class Slow:
    """A tokenizer that is not done with a long text before somebody else is with a short one."""

    def __init__(self) -> None:
        self._own: Any = wordpiece()
        self._short = threading.Event()
        self.in_time = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __call__(self, text: str, *arguments: Any, **named: Any) -> Any:
        if len(text) < MANY:
            self._short.set()
        elif not self._short.wait(30):
            self.in_time = False
            self._short.set()
        return self._own(text, *arguments, **named)


READERS: list[Callable[[Any, str], Any]] = [
    lambda slow, text: TextReader(slow, 512).encode(text),
    lambda slow, text: PromptEncoder(slow, MANY).encode(text, field="text"),
    lambda slow, text: PromptEncoder(slow, MANY).encode_tokens(text, 9 * MANY, add_special_tokens=True),
]


@pytest.mark.parametrize("read", READERS, ids=["for encoders", "for prompts", "for Tokenize"])
async def test_a_short_text_does_not_wait_for_long_ones(
    preprocessing: Preprocessing, read: Callable[[Any, str], Any]
) -> None:
    slow = Slow()
    texts = ["dog " * MANY] * 2 * AT_ONCE + ["dog"]
    *long, short = await asyncio.gather(*(preprocessing.run(read, slow, text) for text in texts))
    assert slow.in_time
    assert len(long) == 2 * AT_ONCE and all(len(tokens) >= MANY for tokens in long)
    assert len(short) < 5


def label(tokens: TextTokens) -> None:
    numbers = np.arange(MANY)
    scores = np.ones((MANY, 2), dtype=np.float32)
    maker = SpanMaker(wordpiece(), ["O", "B-A"])
    maker.spans(
        LabelledTokens("a" * MANY, numbers % 9, numbers, numbers + 1, scores), Aggregation.NONE, include_outside=True
    )


@pytest.mark.parametrize(
    "work",
    [
        lambda tokens: ContextPieces("a" * MANY, tokens),
        label,
        lambda tokens: add_tokens(TokenizeResponse(), EncodedText(tokens.ids, "a" * MANY, tokens.offsets, frozenset())),
    ],
    ids=["AnswerQuestion", "ClassifyTokens", "Tokenize"],
)
def test_there_is_rest_between_the_tokens_of_a_text(
    work: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[int] = []
    monkeypatch.setattr(turns, "give_way", lambda: rests.append(1))
    work(TextTokens([1] * MANY, [1] * MANY, offsets=[(place, place + 1) for place in range(MANY)]))
    assert len(rests) > MANY / 500
