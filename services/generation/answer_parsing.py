"""Parses the answers of chat models: finds the format of a model's, and makes what reads them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from sensorium.errors import Violation
from services.engine.checkpoint import ModelRefused
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.requests.request import Finish, GenerationRequest
from services.engine.language.responses.formats import ResponseFormat, find_response_format
from services.engine.language.responses.message import MessagePart, pieces
from services.engine.language.responses.reader import ResponseReader
from services.engine.threads.turns import give_way, resting
from services.generation.ask import GenerationAsk

_UNKNOWN = "the format of this model's answers is not known: read `text`, or start the service with --response-template"


def response_format(tokenizer: PreTrainedTokenizerBase, template: Path | None) -> ResponseFormat | None:
    """Returns the format of a model's answers: that of a file `template`, else its own or a known one; None if none is.

    Raises:
        ModelRefused: the file holds no response template.
    """
    if template is None:
        return find_response_format(tokenizer)
    try:
        return find_response_format(tokenizer, json.loads(template.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelRefused(f"--response-template {template} cannot be used: {error}") from error


@dataclass(frozen=True)
class ReadAnswer:
    """See ParsedAnswer."""

    reader: ResponseReader
    token_texts: TokenTexts

    def push(self, text: str) -> MessagePart:
        """See ParsedAnswer."""
        return self.reader.push(text)

    def close(self, finish: Finish) -> MessagePart:
        """See ParsedAnswer."""
        return self.reader.close("" if finish.token_id is None else self.token_texts[finish.token_id])


class AnswerParsing:
    """Makes what parses answers in one format; None: it is not known, and no request may ask for that."""

    def __init__(self, format_: ResponseFormat | None, token_texts: TokenTexts) -> None:
        self._format = format_
        self._token_texts = token_texts

    def violations(self, ask: GenerationAsk) -> list[Violation]:
        """Returns what is wrong with a request that asks for a parsed answer."""
        return [Violation(ask.parsed, _UNKNOWN)] if ask.parsed and self._format is None else []

    def answers(
        self, ask: GenerationAsk, rendered: str, request: GenerationRequest, output: Callable[[int], OutputBuilder]
    ) -> tuple[ReadAnswer, ...]:
        """Returns the answer of each candidate, which holds what the caller has of it; none if none are asked for.

        `rendered` is the prompt as text, and `output` makes the output of a candidate, with nothing in it.
        """
        if not ask.parsed or self._format is None or ask.chat is None:
            return ()
        key = blake2b(rendered.encode(errors="replace")).hexdigest()
        begun, answers = self._format.reader(rendered, ask.chat.tools, ""), list[ReadAnswer]()
        for candidate, delivered in enumerate(request.delivered):
            reader, held = begun.fork(f"{key}{candidate}"), output(candidate)
            for token_id in resting(delivered):
                held.push(token_id)
            for piece in pieces(delta.text if (delta := held.take()) else ""):
                give_way()
                reader.push(piece)
            answers.append(ReadAnswer(reader, self._token_texts))
        return tuple(answers)
