"""The life of one live stream: reads audio, asks the model, and yields events."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace

from sensorium.errors import InvalidArgument, Violation
from services.speech.live.event import LiveEvent, Result, SpeechTurn, Started
from services.speech.live.following import Follower
from services.speech.live.hearing import Hearing, Turn
from services.speech.live.intake import BadAudio
from services.speech.live.ledger import Ledger
from services.speech.live.outbox import Outbox
from services.speech.live.reading import Recognizer
from services.speech.live.utterance import Utterance
from services.speech.live.utterance_follower import UtteranceFollower
from services.speech.live.utterance_reader import UtteranceReader


@dataclass(frozen=True)
class LiveOptions:
    """Which events a caller wants."""

    interim_results: bool = False
    speech_events: bool = False
    single_utterance: bool = False
    word_times: bool = False


class LiveTranscription:
    """One stream. While its events are iterated, one task reads incoming audio and another one asks the model.

    Audio is never dropped. Interim readings are skipped if the model is too slow; final ones are always made. While
    more than `unfinished_seconds` of audio are in utterances whose final result the caller has not read, no more audio
    is read, so the caller's transport feels backpressure.
    """

    def __init__(
        self,
        hearing: Hearing,
        recognizer: Recognizer | Follower,
        rate: int,
        options: LiveOptions,
        unfinished_seconds: float,
    ) -> None:
        """`rate` is the sample rate of both `hearing` and `recognizer`."""
        self._hearing = hearing
        self._recognizer = recognizer
        self._rate = rate
        self._options = options
        self._room = unfinished_seconds * rate
        self._outbox = Outbox()
        self._ledger = Ledger()
        self._unread: deque[Utterance] = deque()
        self._unfinished: dict[int, int] = {}
        """Length in samples of each ended utterance, by index, until its final result is read."""
        self._over = 0
        """Number of utterances that have ended."""
        self._all_heard = False
        self._changed = asyncio.Event()

    async def events(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent]:
        """Yields the events of the stream, whose audio bytes arrive in `pieces`, from start to completion.

        Raises:
            InvalidArgument: the audio cannot be decoded.
            SensoriumError: any error of `pieces` or of the recognizer.
        """
        yield Started()
        async with self._at_work(pieces):
            async for event in self._outbox:
                yield event
                self._taken(event)
        yield self._ledger.closed(self._hearing.seconds)

    @asynccontextmanager
    async def _at_work(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(self._hear(pieces)), asyncio.create_task(self._read())]
        for task in tasks:
            task.add_done_callback(self._report)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _report(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._outbox.end(error)

    async def _hear(self, pieces: AsyncIterator[bytes]) -> None:
        try:
            await self._hear_all(pieces)
        except BadAudio as error:
            raise InvalidArgument([Violation("audio", str(error))]) from None
        self._all_heard = True
        self._changed.set()

    async def _hear_all(self, pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            self._ledger.audio_came()
            for turns in self._ledger.timed(self._hearing.push(piece)):
                self._take_turns(turns)
                if self._has_enough:
                    return
                await asyncio.sleep(0)
                await self._until(lambda: sum(self._unfinished.values()) <= self._room)
        self._take_turns(self._hearing.end())

    def _take_turns(self, turns: list[Turn]) -> None:
        for turn in turns:
            if self._has_enough:
                return
            if self._options.speech_events:
                self._outbox.put(SpeechTurn(turn.utterance.index, turn.began, turn.seconds))
            if turn.began:
                self._unread.append(turn.utterance)
            else:
                self._over += 1
                self._unfinished[turn.utterance.index] = turn.utterance.length
        self._changed.set()

    @property
    def _has_enough(self) -> bool:
        return self._options.single_utterance and self._over > 0

    async def _read(self) -> None:
        while True:
            await self._until(lambda: self._unread or self._all_heard)
            if not self._unread:
                break
            await self._read_one(self._unread.popleft())
        self._outbox.end()

    async def _read_one(self, utterance: Utterance) -> None:
        with closing(self._reader(utterance)) as reader:
            while not utterance.over:
                if (self._options.interim_results or reader.reads_along) and reader.is_due:
                    result = await reader.interim()
                    if result is not None and self._options.interim_results:
                        self._outbox.put(result)
                else:
                    await self._change()
            result = await reader.final()
        self._outbox.put(result if self._options.word_times else replace(result, words=()))

    def _reader(self, utterance: Utterance) -> UtteranceReader | UtteranceFollower:
        if isinstance(self._recognizer, Follower):
            return UtteranceFollower(utterance, self._recognizer, self._rate, self._ledger)
        return UtteranceReader(utterance, self._recognizer, self._rate, self._ledger)

    def _taken(self, event: LiveEvent) -> None:
        if isinstance(event, Result):
            self._ledger.result_left()
            if event.final:
                self._unfinished.pop(event.utterance_index)
                self._changed.set()

    async def _until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
