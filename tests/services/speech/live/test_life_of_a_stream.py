import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sensorium.errors import DeviceOutOfMemory, InvalidArgument, QueueFull
from services.speech.live.endpointing import Endpointing
from services.speech.live.event import Completed, Result, SpeechTurn, Started
from services.speech.live.reading import Reading, Word
from tests.services.speech.live.speaker import (
    RATE,
    LoudnessRecognizer,
    finals,
    heard,
    live,
    pieces_of,
    spoken,
)
from tests.waiting import until

TWO = spoken(0.5, 10, 20, 30, 1.0, 40, 50, 0.8)


async def test_a_stream_starts_tells_and_completes() -> None:
    events = await heard(live(LoudnessRecognizer(0.01), speech_events=True), TWO)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Completed)
    turns = [(event.began, event.utterance_index) for event in events if isinstance(event, SpeechTurn)]
    assert turns == [(True, 0), (False, 0), (True, 1), (False, 1)]
    assert [result.utterance_index for result in finals(events)] == [0, 1]
    assert events.index(finals(events)[0]) > events.index(SpeechTurn(0, False, pytest.approx(1.52, abs=0.07)))
    first, second = finals(events)
    assert (first.text, second.text) == ("w10 w20 w30", "w40 w50")
    assert first.stable_characters == len(first.text)
    assert (first.stability, first.confidence, first.language) == (1.0, 0.75, "en")


async def test_times_are_on_the_clock_of_the_stream() -> None:
    events = await heard(live(LoudnessRecognizer(), speech_events=True), TWO)
    turns = [event.seconds for event in events if isinstance(event, SpeechTurn)]
    assert np.allclose(turns, [0.5, 1.52, 2.58, 3.24], atol=0.07)
    result = finals(events)[1]
    assert [(word.text, round(word.start or 0, 2), round(word.end or 0, 2)) for word in result.words] == [
        ("w40", 2.58, 2.88),
        ("w50", 2.94, 3.24),
    ]
    assert result.start == pytest.approx(2.58 - 0.2, abs=0.05)
    assert result.end == pytest.approx(3.24)


class _ToTheEnd:
    """Reads one word that lasts as long as its audio."""

    async def recognize(self, samples: np.ndarray[Any, Any]) -> Reading:
        return Reading([Word("on", " ", 0.0, len(samples) / RATE, 0.9)], "en")


@pytest.mark.parametrize("count", [22_050, 22_054, 22_063])  # to 16,000 samples, 16,003 (2.9) and 16,009 (9.4)
async def test_no_time_lies_behind_the_end_of_the_audio(count: int) -> None:
    stream = live(_ToTheEnd(), rate=22_050, speech_events=True)
    events = await heard(stream, np.full(count, 9000, np.int16))
    done, (result,) = events[-1], finals(events)
    assert isinstance(done, Completed)
    assert done.audio == count / 22_050
    ends = [result.end, *(word.end or 0 for word in result.words)]
    ends += [event.seconds for event in events if isinstance(event, SpeechTurn)]
    assert done.audio - 1 / RATE < max(ends) <= done.audio


async def test_the_stream_tells_what_it_took() -> None:
    recognizer = LoudnessRecognizer(0.01)
    done = (await heard(live(recognizer), TWO))[-1]
    assert isinstance(done, Completed)
    assert (done.audio, done.input_tokens, done.output_tokens) == (len(TWO) / 16_000, 20, 4)
    assert done.times.compute == pytest.approx(0.02)
    assert 0 < done.times.preprocess < done.times.total
    assert done.times.time_to_first_output <= done.times.total


async def test_silence_costs_the_model_nothing() -> None:
    recognizer = LoudnessRecognizer()
    events = await heard(live(recognizer, interim_results=True, speech_events=True), spoken(60.0))
    assert [type(event) for event in events] == [Started, Completed]
    assert recognizer.lengths == []
    assert [type(event) for event in await heard(live(recognizer), spoken(0.0))] == [Started, Completed]


async def test_an_utterance_is_read_once_where_nobody_wants_interim_results() -> None:
    recognizer = LoudnessRecognizer()
    assert len(finals(await heard(live(recognizer), TWO, pace=20))) == 2
    assert len(recognizer.lengths) == 2


async def test_interim_results_grow_stable() -> None:
    recognizer = LoudnessRecognizer()
    stream = live(recognizer, interim_results=True)
    events = await heard(stream, spoken(0.3, *range(10, 22), 1.0), pace=4)
    results = [event for event in events if isinstance(event, Result)]
    assert len(results) > 8
    stable = ""
    for result in results:
        assert result.text.startswith(stable)
        assert result.stable_characters >= len(stable)
        stable = result.text[: result.stable_characters]
        assert result.final or not result.words
    assert sum(0 < result.stable_characters < len(result.text) for result in results) > 4
    assert results[-1].text == " ".join(f"w{word}" for word in range(10, 22))


async def test_the_last_interim_reading_becomes_the_final_one() -> None:
    """After an utterance's padding no audio is added, so the silence that ends it needs no further reading."""
    recognizer = LoudnessRecognizer(0.02)
    events = await heard(live(recognizer, interim_results=True), spoken(0.3, 10, 20, 30, 2.0), pace=4)
    (result,) = finals(events)
    assert len(set(recognizer.lengths)) == len(recognizer.lengths)
    assert recognizer.lengths[-1] == max(recognizer.lengths)
    assert result.text == "w10 w20 w30"


@pytest.mark.parametrize("interim", [False, True])
async def test_the_final_text_does_not_depend_on_pieces(interim: bool) -> None:
    audio = spoken(0.3, 10, 20, 30, 0.7, 40, 50, 60, 70, 0.9, 80, 0.6)
    draws = np.random.default_rng(5)
    results = set()
    for _ in range(10):
        sizes = draws.integers(1, 9000, 50).tolist()
        events = await heard(live(LoudnessRecognizer(0.001), interim_results=interim), audio, sizes=sizes)
        results.add(tuple((result.text, result.start, result.end) for result in finals(events)))
    assert [text for text, *_ in results.pop()] == ["w10 w20 w30", "w40 w50 w60 w70", "w80"]
    assert not results


async def test_interim_readings_are_dropped_where_the_model_is_slow_but_never_audio() -> None:
    recognizer, audio = LoudnessRecognizer(), spoken(*range(10, 22), 0.6)
    recognizer.gate.clear()

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in pieces_of(audio.tobytes()):
            yield piece
        recognizer.gate.set()

    events = [event async for event in live(recognizer, interim_results=True).events(pieces())]
    assert finals(events)[0].text == " ".join(f"w{word}" for word in range(10, 22))
    assert 1 < len(recognizer.lengths) < 4
    assert recognizer.most_running == 1


@pytest.mark.parametrize(("times", "longest"), [(True, 3.0), (False, 6.0)])
async def test_a_long_utterance_is_cut_and_no_word_is_lost_or_repeated(times: bool, longest: float) -> None:
    events = await heard(
        live(
            LoudnessRecognizer(times=times), endpointing=Endpointing(max_utterance=longest), interim_results=True,
            speech_events=True,
        ),
        spoken(0.3, *range(10, 30 if times else 50), 0.7),
        pace=20,
    )  # fmt: skip
    results = finals(events)
    assert len(results) > 2
    assert " ".join(result.text for result in results) == " ".join(
        f"w{word}" for word in range(10, 30 if times else 50)
    )
    turns = [event for event in events if isinstance(event, SpeechTurn)]
    assert [turn.began for turn in turns] == [True, False] * len(results)
    assert max(result.end - result.start for result in results) <= longest


async def test_words_before_an_utterance_are_read_with_it_and_not_told_again() -> None:
    plain, with_context = LoudnessRecognizer(), LoudnessRecognizer()
    told = [
        [replace(result, confidence=None) for result in finals(await heard(live(recognizer, context=seconds), TWO))]
        for recognizer, seconds in ((plain, 0.0), (with_context, 2.5))
    ]
    assert [result.text for result in told[0]] == [result.text for result in told[1]]
    for result, other in zip(*told, strict=True):
        assert result.start == other.start
        assert [word.start for word in result.words] == pytest.approx([word.start for word in other.words])
    first, second = with_context.lengths
    assert first == pytest.approx(plain.lengths[0] + 0.3, abs=0.05)
    assert second == pytest.approx(plain.lengths[1] + 2.4, abs=0.2)


async def test_one_utterance_may_be_enough() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            async for piece in pieces_of(TWO.tobytes()):
                read += len(piece)
                yield piece

    events = [event async for event in live(LoudnessRecognizer(), single_utterance=True).events(endless())]
    assert [result.text for result in finals(events)] == ["w10 w20 w30"]
    assert isinstance(events[-1], Completed)
    assert read < len(TWO) * 2


async def test_what_is_not_yet_final_is_bounded() -> None:
    """While the model or the reader is behind, the sender is held back; in the end everything arrives."""
    recognizer = LoudnessRecognizer(0.05)
    audio = spoken(*([10, 20, 30, 0.6] * 20))
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        async for piece in pieces_of(audio.tobytes()):
            sent += 1
            yield piece

    stream = live(recognizer, unfinished=4.0, speech_events=True).events(pieces())
    await anext(stream)
    assert isinstance(await anext(stream), SpeechTurn)
    await until(lambda: len(recognizer.lengths) >= 3)
    await asyncio.sleep(0.2)
    assert sent * 0.1 < 12
    assert len(finals([event async for event in stream])) == 20


async def test_a_full_queue_drops_interim_readings_and_delays_final_ones() -> None:
    full = [QueueFull("", retry_after=0.01)] * 4
    events = await heard(live(LoudnessRecognizer(0.001, full), interim_results=True), TWO, pace=8)
    assert [result.text for result in finals(events)] == ["w10 w20 w30", "w40 w50"]
    events = await heard(live(LoudnessRecognizer(0.001, full)), TWO)
    assert [result.text for result in finals(events)] == ["w10 w20 w30", "w40 w50"]


async def test_a_failure_ends_the_stream_behind_what_was_told() -> None:
    told: list[type] = []
    with pytest.raises(DeviceOutOfMemory):
        async for event in live(LoudnessRecognizer(0, [DeviceOutOfMemory()]), speech_events=True).events(
            pieces_of(TWO.tobytes())
        ):
            told.append(type(event))
    assert told[:3] == [Started, SpeechTurn, SpeechTurn]
    assert Completed not in told


async def test_audio_that_ends_within_a_sample_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        _ = [event async for event in live(LoudnessRecognizer()).events(pieces_of(TWO.tobytes() + b"x"))]
    assert [violation.field for violation in refused.value.violations] == ["audio"]


async def test_leaving_ends_everything() -> None:
    before = asyncio.all_tasks()
    recognizer = LoudnessRecognizer(60)
    stream = live(recognizer, interim_results=True).events(pieces_of(TWO.tobytes(), pace=10))
    assert isinstance(await anext(stream), Started)
    reading = asyncio.ensure_future(anext(stream))
    await until(lambda: recognizer.running == 1)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()
    assert recognizer.running == 0
    assert asyncio.all_tasks() == before
