"""What became known of a recording whose windows are asked about one by one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.engine.dictation.manner import Written
from services.engine.generation.requests.request import Work
from services.engine.language.languages import tag_of
from services.speech.dictation_writer import WindowAnswers
from services.speech.text_words import joined_texts
from services.speech.transcribe_ask import Segment, Transcript


@dataclass(frozen=True)
class Span:
    """Where a window lies, in seconds from the recording's beginning."""

    begin: float
    end: float

    def at(self, seconds: float) -> float:
        """Returns the place so far from its beginning, within it: a model may write of others, or of no number."""
        return min(self.begin + max(0.0, seconds), self.end)


@dataclass(frozen=True)
class Told:
    """What a candidate for a window says."""

    written: Written
    likelihoods: Sequence[float]
    """Log-probabilities of the tokens of the transcript."""

    def segments(self, span: Span) -> list[Segment]:
        """Returns it with its times; in stretches where the model tells those."""
        if not self.written.parts:
            text = self.written.text
            return [Segment(text, span.begin, span.end, confidence(self.likelihoods))] if text else []
        found: list[Segment] = []
        for part in filter(lambda part: part.text, self.written.parts):
            start, end = span.at(part.start), span.at(part.end)
            found.append(Segment(part.text, start, max(start, end)))
        return found


@dataclass
class Course:
    """A request on its way through its windows."""

    told: list[list[tuple[Told, Span]]]
    """By candidate, what it says of each window so far."""
    work: Work = field(default_factory=Work)
    """Of all windows: some are worked on together."""
    queue: float | None = None
    """Of the first window."""
    read: int = 0
    generated: int = 0

    def take(self, answers: WindowAnswers, told: Sequence[Told], span: Span) -> None:
        """Takes what the candidates for the next window say, and counts what it took."""
        self.queue = answers.queue if self.queue is None else self.queue
        self.read += answers.prompt_tokens
        self.generated += sum(candidate.generated for candidate in answers.candidates)
        for all_told, one in zip(self.told, told, strict=True):
            all_told.append((one, span))

    @property
    def transcripts(self) -> list[Transcript]:
        """By candidate."""
        return [
            Transcript(
                joined_texts([told.written.text for told, _ in each]),
                confidence([value for told, _ in each for value in told.likelihoods]),
                [segment for told, span in each for segment in told.segments(span)],
            )
            for each in self.told
        ]

    @property
    def language(self) -> str:
        """Tag of the first one that the model found; empty where it tells none."""
        return next((tag for told, _ in self.told[0] if (tag := tag_of(told.written.language))), "")


def confidence(log_probabilities: Sequence[float]) -> float | None:
    """Returns the geometric mean of the probabilities of tokens; None where there are none."""
    return math.exp(math.fsum(log_probabilities) / len(log_probabilities)) if log_probabilities else None
