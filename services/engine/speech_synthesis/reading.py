"""Splits a text into sentences and tokenizes them."""

from collections.abc import Iterator

from services.engine.speech_synthesis.model import SpeakingModel
from services.engine.speech_synthesis.sentences import sentences

_LONGEST = 250
"""Longest sentence in characters: about what models were trained on, and a quarter of a minute."""


def read_text(model: SpeakingModel, text: str) -> list[list[int]]:
    """Returns the tokens of each sentence, without sentences that the model cannot speak. Any thread.

    A description is one piece, which may be longer than the model reads, and so is a single character.
    """
    if not model.divides:
        tokens = model.read(text)
        return [tokens] if tokens else []
    pieces = sentences(text, _LONGEST)
    return [tokens for piece in (_joined(model, pieces) if model.joins else pieces) for tokens in _read(model, piece)]


def _joined(model: SpeakingModel, pieces: list[str]) -> Iterator[str]:
    """Yields adjacent sentences joined, as many as fit into `most_tokens`."""
    said = ""
    for piece in pieces:
        if said and len(model.read(both := f"{said} {piece}")) <= model.most_tokens:
            said = both
            continue
        if said:
            yield said
        said = piece
    if said:
        yield said


def _read(model: SpeakingModel, sentence: str) -> list[list[int]]:
    tokens = model.read(sentence)
    if len(tokens) <= model.most_tokens or len(sentence) == 1:
        return [tokens] if tokens else []
    return [part for half in sentences(sentence, (len(sentence) + 1) // 2) for part in _read(model, half)]
