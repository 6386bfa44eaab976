"""The state of a request while its windows are transcribed, and the transcripts it becomes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.engine.dictation.manner import Written
from services.engine.generation.requests.request import Work
from services.engine.language.languages import tag_of
from services.speech.dictation.dictation_writer import WindowAnswers
from services.speech.transcription.text_words import joined_texts
from services.speech.transcription.transcribe_ask import Segment, Transcript


@dataclass(frozen=True)
class Span:
    """A window's place, in seconds from the recording's beginning."""

    begin: float
    end: float

    def at(self, seconds: float) -> float:
        """Returns the place `seconds` into the window, clipped to it: models may write any time, NaN included."""
        return min(self.begin + max(0.0, seconds), self.end)


@dataclass(frozen=True)
class Candidate:
    """One candidate for a window, parsed."""

    written: Written
    likelihoods: Sequence[float]
    """Log-probabilities of the transcript's tokens."""
    cut: bool | None = None
    """See WindowReading."""

    def segments(self, span: Span) -> list[Segment]:
        """Returns the segments within `span`: the model's own parts if it gives times, else one segment."""
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
    """The state of a request while its windows are transcribed."""

    candidates: list[list[tuple[Candidate, Span]]]
    """For each candidate, its text for each window so far."""
    work: Work = field(default_factory=Work)
    """Compute time of all windows; windows that share a step count it once."""
    queue: float | None = None
    """Queue time of the first window, in seconds."""
    read: int = 0
    generated: int = 0

    def take(self, answers: WindowAnswers, candidates: Sequence[Candidate], span: Span) -> None:
        """Adds the next window: its answers, their parsed candidates, and its place."""
        self.queue = answers.queue if self.queue is None else self.queue
        self.read += answers.prompt_tokens
        self.generated += sum(candidate.generated for candidate in answers.candidates)
        for so_far, one in zip(self.candidates, candidates, strict=True):
            so_far.append((one, span))

    @property
    def transcripts(self) -> list[Transcript]:
        """The whole transcript of each candidate."""
        return [
            Transcript(
                joined_texts([candidate.written.text for candidate, _ in each]),
                confidence([value for candidate, _ in each for value in candidate.likelihoods]),
                [segment for candidate, span in each for segment in candidate.segments(span)],
                None if any(candidate.cut is None for candidate, _ in each) else any(one.cut for one, _ in each),
            )
            for each in self.candidates
        ]

    @property
    def language(self) -> str:
        """BCP 47 tag of the first language that the model detected; empty if it names none."""
        return next((tag for candidate, _ in self.candidates[0] if (tag := tag_of(candidate.written.language))), "")


def confidence(log_probabilities: Sequence[float]) -> float | None:
    """Returns the geometric mean of token probabilities; None without tokens."""
    return math.exp(math.fsum(log_probabilities) / len(log_probabilities)) if log_probabilities else None
