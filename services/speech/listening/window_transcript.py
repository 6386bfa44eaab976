"""Turns the tokens of a window into segments and timed words."""

import math
from collections.abc import Iterator, Sequence

from services.engine.language.prompting import PromptEncoder
from services.engine.listening.alignment import token_times
from services.engine.listening.grouping import GroupedWord, grouped
from services.engine.listening.loading import ListeningModel
from services.engine.listening.segments import FRAMES_PER_TIME, SECONDS_PER_TIME, Stretch, stretches
from services.speech.transcription.transcribe_ask import Segment, Word
from services.speech.transcription.window_reading import WindowReading, WindowReadings


class WindowTranscripts:
    """Decodes the readings of one model. May be used by any thread."""

    def __init__(self, model: ListeningModel, encoder: PromptEncoder) -> None:
        self._encoder = encoder
        self._tokens = model.tokens
        self._smoothing: int = model.loaded.model.config.median_filter_width

    def stretches(self, reading: WindowReading, frames: int) -> tuple[list[Stretch], int]:
        """Returns the segments of a window of `frames` feature frames, and how many frames they complete."""
        return stretches(reading.tokens, self._tokens.times.first_id, frames)

    def no_speech(self, readings: WindowReadings) -> float:
        """Returns the probability of the no-speech token."""
        return math.exp(float(readings.start[self._tokens.no_speech]))

    def token_words(
        self, readings: WindowReadings, reading: WindowReading, opening: int, frames: int, language: str,
        found: Sequence[Stretch],
    ) -> list[list[Word]]:  # fmt: skip
        """Returns the words of each stretch with times from cross-attention, in seconds from the window's beginning.

        As in transformers, a token lasts from the start of the token before it to its own start: a decoder step that
        reads a token attends to where that token ends in the audio.
        """
        heard = max(frames // FRAMES_PER_TIME, 1)
        times = [time * SECONDS_PER_TIME for time in token_times(readings.attention, opening, heard, self._smoothing)]
        times += times[-1:] * (len(reading.tokens) - len(times))  # the context had no room to align these tokens
        starts = [0.0, *times]
        return [
            [
                Word(word.text, starts[word_places[0]], times[word_places[-1]], _confidence(reading, word_places))
                for word, word_places in self._words(reading, stretch, language)
            ]
            for stretch in found
        ]

    def segment(
        self, reading: WindowReading, stretch: Stretch, offset: float, no_speech: float, words: Sequence[Word]
    ) -> Segment | None:
        """Returns a stretch as a segment shifted by `offset` seconds, the window's place; None if it has no text.

        The text keeps its leading space.
        """
        places = self._text_places(reading, stretch)
        text = self._decode([reading.tokens[place] for place in places])
        if not text.strip():
            return None
        start, end = offset + stretch.start_seconds, offset + stretch.end_seconds
        moved = [Word(word.text.strip(), offset + word.start, offset + word.end, word.confidence) for word in words]
        return Segment(text, start, end, _confidence(reading, places), no_speech, moved)

    def likelihoods(self, reading: WindowReading, found: Sequence[Stretch]) -> list[float]:
        """Returns the log-probabilities of all text tokens of the stretches."""
        places = (place for stretch in found for place in self._text_places(reading, stretch))
        return [reading.log_probabilities[place] for place in places]

    def _words(
        self, reading: WindowReading, stretch: Stretch, language: str
    ) -> Iterator[tuple[GroupedWord, list[int]]]:
        places = self._text_places(reading, stretch)
        for word in grouped([reading.tokens[place] for place in places], self._decode, language):
            if word.text.strip():
                yield word, [places[place] for place in word.places]

    def _text_places(self, reading: WindowReading, stretch: Stretch) -> list[int]:
        """Returns the indices of a stretch's text tokens among the window's tokens."""
        places = range(stretch.first, stretch.end)
        return [place for place in places if not self._tokens.is_special(reading.tokens[place])]

    def _decode(self, ids: Sequence[int]) -> str:
        return self._encoder.decode(ids, skip_special_tokens=True)


def _confidence(reading: WindowReading, places: Sequence[int]) -> float | None:
    """Returns the geometric mean of the probabilities of the tokens at `places`; None without any."""
    if not places:
        return None
    return math.exp(math.fsum(reading.log_probabilities[place] for place in places) / len(places))
