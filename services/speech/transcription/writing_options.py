"""Checks the generation parameters of a transcription request, for all models that generate tokens."""

from collections.abc import Callable
from dataclasses import replace

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import GenerationOptions
from services.speech.transcription.transcribe_ask import TranscribeAsk
from services.speech.transcription.transcribe_checks import MOST_TRANSCRIPTS

_NO_PLACE = "must be left out: a transcript has no place for it"
_WHOLE = "must be left out: it would end a window, and not the recording"
_SENT: tuple[tuple[str, Callable[[GenerationOptions], bool], str], ...] = (
    ("candidate_count", lambda options: options.candidate_count is not None, "must be left out: see transcript_count"),
    ("logprob_count", lambda options: options.logprob_count is not None, _NO_PLACE),
    ("prompt_logprob_count", lambda options: options.prompt_logprob_count is not None, _NO_PLACE),
    ("structured_output", lambda options: options.structured_output is not None, _NO_PLACE),
    ("skip_special_tokens", lambda options: not options.skip_special_tokens, _NO_PLACE),
    ("stop_strings", lambda options: bool(options.stop_strings), _WHOLE),
    ("stop_token_ids", lambda options: bool(options.stop_token_ids), _WHOLE),
    ("ignore_eos", lambda options: options.ignore_eos, _WHOLE),
)


def writing_options(ask: TranscribeAsk, wrong: list[Violation]) -> tuple[GenerationOptions, int]:
    """Returns the options to generate each window with, and the number of transcripts. Adds faults to `wrong`."""
    options = ask.parameters or GenerationOptions()
    wrong += [Violation(f"parameters.{name}", said) for name, sent, said in _SENT if sent(options)]
    count = ask.transcript_count or 1
    if 1 < count <= MOST_TRANSCRIPTS and not options.beams and not options.temperature:
        wrong.append(
            Violation("transcript_count", "needs parameters.temperature above 0, or beam_search: else all are the same")
        )
    if options.beams and options.beams.count < count <= MOST_TRANSCRIPTS:
        wrong.append(Violation("transcript_count", f"must be at most {options.beams.count}, the number of beams"))
    # logprob_count=0 returns the log-probability of each chosen token alone: confidence is made of these.
    return replace(options, logprob_count=0, candidate_count=count), count
